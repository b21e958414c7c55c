package kubernetes_test

import (
	"strings"
	"testing"
)

// testInit: the files are there before the application starts, 0400 and its own, and
// nothing of ours runs beside it.
func (s *shop) testInit(t *testing.T) {
	s.kubectl(t, "apply", "-k", examples+"/init")
	s.available(t, "shop-init")
	pod := s.pod(t, "shop-init")
	s.log(t, pod, "shop", file("0400", "65532:65532", "db.env", dbEnv), file("0400", "65532:65532", "api-key", apiKey))
	if got := s.get(t, "pod/"+pod, "{.status.initContainerStatuses[*].state.terminated.exitCode}"); got != "0" {
		t.Errorf("the init container ended with %q", got)
	}
}

// testSidecar: the application starts after the first delivery. See testRotation for what
// follows.
func (s *shop) testSidecar(t *testing.T) {
	s.kubectl(t, "apply", "-k", examples+"/sidecar")
	s.available(t, "shop-sidecar")
	pod := s.pod(t, "shop-sidecar")
	s.log(t, pod, "shop", file("0400", "65532:65532", "db.env", dbEnv), file("0400", "65532:65532", "api-key", apiKey))
	if got := s.try(t, "", "kubectl", "logs", "-n", "shop", pod, "-c", "shop").out; !strings.HasPrefix(got, "0400 ") {
		t.Errorf("the application started before the files were there:\n%s", got)
	}
}

// testProbes: all probes hold, the pod is ready by them, and metrics are answered.
func (s *shop) testProbes(t *testing.T) {
	s.kubectl(t, "apply", "-k", examples+"/probes")
	s.available(t, "shop-probes")
	pod := s.pod(t, "shop-probes")
	s.log(t, pod, "shop", file("0400", "65532:65532", "db.env", dbEnv))
	if got := s.get(t, "pod/"+pod, "{.status.initContainerStatuses[0].started} {.status.initContainerStatuses[0].ready} {.status.initContainerStatuses[0].restartCount}"); got != "true true 0" {
		t.Errorf("the sidecar: started, ready, restarts are %q", got)
	}
	if got := s.do(t, "", "kubectl", "get", "--raw", "/api/v1/namespaces/shop/pods/"+pod+":9100/proxy/metrics"); !strings.Contains(got, "\nsecretboot_ready 1\n") {
		t.Errorf("the metrics are\n%s", got)
	}
}

// testWrapperVolume: the command of an image that is not changed runs under us.
func (s *shop) testWrapperVolume(t *testing.T) {
	s.kubectl(t, "apply", "-k", examples+"/wrapper-volume")
	s.available(t, "shop-wrapper-volume")
	s.log(t, s.pod(t, "shop-wrapper-volume"), "shop", "API_KEY "+hash(apiKey), file("0400", "65532:65532", "db.env", dbEnv))
}

// testWrapperImage: the same without an init container, through a volume that is our image.
func (s *shop) testWrapperImage(t *testing.T) {
	s.kubectl(t, "apply", "-k", examples+"/wrapper-image")
	s.available(t, "shop-wrapper-image")
	s.log(t, s.pod(t, "shop-wrapper-image"), "shop", "API_KEY "+hash(apiKey), file("0400", "65532:65532", "db.env", dbEnv))
}

// testDoctor: in a pod that will work it has nothing to say against it.
func (s *shop) testDoctor(t *testing.T) {
	s.variant(t, "init", "doctor", "shop", "- init\n", "- doctor\n")
	s.available(t, "doctor")
	out := s.kubectl(t, "logs", "-n", "shop", s.pod(t, "doctor"), "-c", "secretboot")
	if strings.Contains(out, "FAIL") || strings.Contains(out, "WARN") || !strings.Contains(out, "shop-init") {
		t.Errorf("doctor says\n%s", out)
	}
}

// testJob: it completes, with a sidecar that would run for ever.
func (s *shop) testJob(t *testing.T) {
	s.kubectl(t, "apply", "-k", examples+"/job")
	s.completes(t, "shop-import", "shop-import", "import")
}

// testJobExitWith: a sidecar that is an ordinary container ends with the file that the
// Job's own container leaves, has shredded then, and the Job completes.
func (s *shop) testJobExitWith(t *testing.T) {
	s.kubectl(t, "apply", "-k", examples+"/job-exit-with")
	const name = "shop-import-exit-with"
	if r := s.try(t, "", "kubectl", "wait", "-n", "shop", "--for=condition=Complete", "job/"+name, "--timeout=100s"); r.code != 0 {
		t.Fatalf("%s%s\n%s", r.out, r.err, s.describe(t, name))
	}
	pod := s.pod(t, name)
	s.log(t, pod, "import", file("0400", "65532:65532", "db.env", dbEnv))
	if got := s.get(t, "pod/"+pod, "{.status.phase} {.status.containerStatuses[*].state.terminated.exitCode}"); got != "Succeeded 0 0" {
		t.Errorf("the pod ended with %q", got)
	}
	s.noToken(t, "shop-job-exit-with", s.kubectl(t, "logs", "-n", "shop", pod, "-c", "fresh"))
}

// testCronJob: its job is started as the schedule would, and completes.
func (s *shop) testCronJob(t *testing.T) {
	s.kubectl(t, "apply", "-k", examples+"/cronjob")
	s.kubectl(t, "create", "job", "-n", "shop", "shop-report-now", "--from=cronjob/shop-report")
	s.completes(t, "shop-report-now", "shop-report", "report")
}

// completes waits for the end of a Job whose container looks once.
func (s *shop) completes(t *testing.T, job, app, container string) {
	t.Helper()
	if r := s.try(t, "", "kubectl", "wait", "-n", "shop", "--for=condition=Complete", "job/"+job, "--timeout=100s"); r.code != 0 {
		t.Fatalf("%s%s\n%s", r.out, r.err, s.describe(t, app))
	}
	pod := s.pod(t, app)
	s.log(t, pod, container, file("0400", "65532:65532", "db.env", dbEnv))
	if got := s.get(t, "pod/"+pod, "{.status.phase} {.status.containerStatuses[*].state.terminated.exitCode} {.status.initContainerStatuses[*].state.terminated.exitCode}"); got != "Succeeded 0 0" {
		t.Errorf("the pod ended with %q", got)
	}
}
