#!/bin/sh
# Starts a kubelet in a mount namespace of its own: kubelet.sh FOLDER KUBELET FLAGS…
#
# A kubelet takes the machine for its own. What it would change there is covered up for it, by files and folders of FOLDER:
# sysctls, its fixed folders, `modprobe`, and the score by which the kernel chooses whom to kill, of every `dockerd`. The
# namespace ends with it, and the covers with the namespace.
set -eu
folder=$1
shift

mkdir -p "$folder/sysctl" "$folder/programs"
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
    kernel/keys/root_maxbytes net/bridge/bridge-nf-call-iptables net/bridge/bridge-nf-call-ip6tables; do
    if [ -f "/proc/sys/$name" ]; then
        cover="$folder/sysctl/$(echo "$name" | tr / -)"
        cat "/proc/sys/$name" > "$cover"
        mount --bind "$cover" "/proc/sys/$name"
    fi
done
for name in /var/lib /var/log; do
    mkdir -p "$folder$name"
    mount --bind "$folder$name" "$name"
done
printf '#!/bin/sh\nexit 1\n' > "$folder/programs/modprobe"
chmod 755 "$folder/programs/modprobe"

PATH="$folder/programs:$PATH"
# It asks the cloud that it may run in for access to registries; there is none here.
AWS_EC2_METADATA_DISABLED=true
export PATH AWS_EC2_METADATA_DISABLED
exec setpriv --bounding-set=-sys_resource "$@" > "$folder/kubelet.log" 2>&1
