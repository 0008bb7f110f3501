#!/bin/sh
# join-ray.sh HEAD:PORT: joins this machine to the Ray that a head runs, and again whenever it was lost.
#
# Ray gives up a machine that fell silent for some seconds, and its raylet must end then, though the silence may be over
# a moment later; and a head that was started anew knows none of its machines. In both cases somebody has to call
# `ray start` again: this does, within a second. Returns once the machine has joined; what stays in the background
# ends by itself after `ray stop` on this machine, and once the head has told for a minute that no Ray runs there.
# Called again it does nothing, but after an upgrade: then the machine leaves, and joins with what is installed now.
set -eu

address=$1
host=${address%:*} port=${address##*:}
refused_max=200 # about a minute
files=${TMPDIR:-/tmp}/sigmaos-join-$(id -u)-$host-$port

# A raylet without a head ends after that many seconds, not after a minute: the head has given it up long before. Where
# the other machines are to go on without a head, somebody has asked for more.
export RAY_gcs_rpc_server_reconnect_timeout_s="${RAY_gcs_rpc_server_reconnect_timeout_s:-10}"

# What a Ray that starts now would run: the environment, and which installation of this project is in it.
installed() {
  cat ~/.sigmaos-env 2> /dev/null || true
  ls -idl --time-style=+%s "$(dirname "$(command -v ray)")"/../lib/python*/site-packages/sigmaos_ray-* 2> /dev/null ||
    true
}

# The lock of this script is not for Ray's processes.
join() {
  [ ! -e ~/.sigmaos-env ] || . ~/.sigmaos-env
  installed > "$files.installed"
  # Nobody here is told what workers print: it goes to files of their own.
  ray start --address="$address" --include-log-monitor=false 9>&-
}

# Ray notes there which one a machine is in, and only `ray stop` takes it away: last, when the raylet is gone already.
is_wanted() {
  while pgrep -u "$(id -u)" -f '/ray stop( |$)' > /dev/null; do sleep 0.2; done
  [ -e /tmp/ray/ray_current_cluster ]
}

ask() { LC_ALL=C timeout 2 bash -c ": < /dev/tcp/$host/$port" 2>&1 && echo "it answers"; }

keep() {
  refused=0
  while [ "$refused" -lt "$refused_max" ]; do
    if pgrep -u "$(id -u)" -f "raylet/raylet .*--gcs-address=$address( |\$)" > /dev/null; then
      refused=0
      sleep 1
    elif ! is_wanted; then
      break
    else
      # A head that says nothing may be cut off, or starting: that is waited for.
      case $(ask) in
        *"it answers") join || true ;;
        *refused*) refused=$((refused + 1)) ;;
      esac
      sleep 0.3
    fi
  done
}

if [ "${2:-}" = keep ]; then
  keep
  exit
fi
# One of these for each head: who comes second has nothing to do.
exec 9> "$files.lock"
if ! flock -n 9; then
  if [ "$(installed)" = "$(cat "$files.installed")" ]; then
    echo "this machine is kept in the Ray of $address already"
    exit 0
  fi
  ray stop 9>&-
  flock -w 30 9
fi
join
setsid "$0" "$address" keep < /dev/null > "$files.log" 2>&1 &
