# Process 1 of the cluster's namespaces: mounts, network, then the program that reaps.
# boot.sh STATE REAPER. Everything below ends with it, and it ends when its standard
# input does: also when the test was killed.
set -e
state=$1
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock
# What the kubelet and containerd write to fixed paths is kept here.
mount -t overlay -o "lowerdir=/var,upperdir=$state/var,workdir=$state/var-work" overlay /var
mkdir -p /var/lib/kubelet
mount --bind "$state/kubelet" /var/lib/kubelet
# The kubelet sets these for the whole machine. It may set copies of them.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  name=${setting%=*}
  copy=/run/sysctl-$(basename "$name")
  echo "${setting#*=}" >"$copy"
  mount --bind "$copy" "/proc/sys/$name"
done
mount --make-rshared /
ip link set lo up
# A bridge without an address of its own takes its ports' lowest, which changes as pods come and go. What the other
# pods remember of the gateway is then wrong, and their packets are lost for seconds.
ip link add cni0 address 02:00:0a:58:00:01 type bridge
ip addr add 10.88.0.1/24 dev cni0
ip link set cni0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo ready
exec "$2" reap
