#!/bin/sh
# install.sh PYTHON: installs this checkout with all its extras for that interpreter, unless just these sources are
# there already.
#
# `ray up` calls it on each machine each time: what did not change takes no time then, and a machine that runs it is left
# alone (join-ray.sh).
set -eu

python=$1
cd "$(dirname "$0")/.."
mark=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/sigmaos-ray.sources

# Without what is hidden, and what an installation leaves here.
sources() {
  find . \( -name '.?*' -o -name __pycache__ -o -name build -o -name '*.egg-info' \) -prune -o -type f -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
}

present=$(sources)
[ "$present" != "$(cat "$mark" 2> /dev/null)" ] || exit 0
rm -f "$mark"
"$python" -m pip install --quiet "$PWD[all]"
echo "$present" > "$mark"
