package kubernetes_test

import (
	"strings"
	"testing"
)

// writeConfigs writes what containerd, the kubelet and the pods' network are told.
func (c *cluster) writeConfigs(t *testing.T) {
	t.Helper()
	fill := strings.NewReplacer("@DIR@", c.dir, "@CGROUP@", c.cgroup, "@IP@", nodeIP).Replace
	write(t, c.dir+"/cni/10-pods.conflist", fill(`{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": {"type": "host-local", "dataDir": "/run/cni",
    "ranges": [[{"subnet": "10.88.0.0/24", "gateway": "@IP@"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`))
	write(t, c.dir+"/containerd.toml", fill(`version = 2
root = "@DIR@/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true # a machine without CAP_SYS_RESOURCE cannot lower it, and runc would fail
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "@DIR@/cni"
`))
	write(t, c.dir+"/kubelet.yaml", fill(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /@CGROUP@
enforceNodeAllocatable: []
failSwapOn: false
oomScoreAdj: 0
authentication: { anonymous: { enabled: false }, webhook: { enabled: false }, x509: { clientCAFile: "@DIR@/pki/ca.crt" } }
authorization: { mode: AlwaysAllow }
tlsCertFile: "@DIR@/pki/kubelet-server.crt"
tlsPrivateKeyFile: "@DIR@/pki/kubelet-server.key"
podLogsDir: "@DIR@/podlogs"
volumePluginDir: /var/lib/kubelet/volume-plugins
resolvConf: ""
clusterDNS: ["@IP@"]
clusterDomain: cluster.local
makeIPTablesUtilChains: false
# A disk that is full must not collect the images, which no registry could give back.
evictionHard: { memory.available: 50Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%" }
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
syncFrequency: 10s
volumeStatsAggPeriod: 5s # how soon a volume that is too large is seen
`))
}

func apiserverFlags(dir string) []string {
	pki := dir + "/pki/"
	return []string{
		"--etcd-servers=http://127.0.0.1:2379", "--bind-address=0.0.0.0", "--advertise-address=" + nodeIP, "--secure-port=6443",
		"--tls-cert-file=" + pki + "apiserver.crt", "--tls-private-key-file=" + pki + "apiserver.key", "--client-ca-file=" + pki + "ca.crt",
		"--kubelet-client-certificate=" + pki + "apiserver-kubelet.crt", "--kubelet-client-key=" + pki + "apiserver-kubelet.key",
		"--kubelet-certificate-authority=" + pki + "ca.crt", "--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-signing-key-file=" + pki + "sa.key",
		"--service-account-key-file=" + pki + "sa.pub", "--service-cluster-ip-range=10.96.0.0/24",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--anonymous-auth=false", "--profiling=false",
	}
}
