package status

import (
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// label is the name of a label and all its values.
type label struct {
	name   string
	values []string
}

// counter is one metric that only grows, with a series for each combination of its
// labels. All are there from the start, at 0, as rate() in Prometheus wants it
// (https://prometheus.io/docs/practices/instrumentation/#avoid-missing-metrics).
type counter struct {
	name, help string
	labels     []label
	series     []series
}

type series struct {
	text  string // {class="ok"}; "" without labels
	count uint64
}

func newCounter(name, help string, labels ...label) *counter {
	texts := []string{""}
	for _, l := range labels {
		var longer []string
		for _, before := range texts {
			for _, v := range l.values {
				longer = append(longer, before+","+l.name+"="+quote(v))
			}
		}
		texts = longer
	}
	c := &counter{name: name, help: help, labels: labels}
	for _, t := range texts {
		if t != "" {
			t = "{" + t[1:] + "}"
		}
		c.series = append(c.series, series{text: t})
	}
	return c
}

// add counts one; values are those of the labels, in order. What no series is for is
// not counted: a mistake of ours must not make a series of each value of something.
func (c *counter) add(values ...string) {
	at := 0
	for i, l := range c.labels {
		n := slices.Index(l.values, values[i])
		if n < 0 {
			return
		}
		at = at*len(l.values) + n
	}
	c.series[at].count++
}

// quote writes the value of a label: in it, \, " and the newline are escaped.
func quote(s string) string {
	if !strings.ContainsAny(s, "\\\"\n") {
		return `"` + s + `"` // all of our own words: a replacer for each took longer than all else at the start
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// exposition is the text format of Prometheus, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
type exposition struct{ strings.Builder }

func (e *exposition) head(name, kind, help string) {
	e.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
}

func (e *exposition) counter(c *counter) {
	e.head(c.name, "counter", c.help)
	for _, s := range c.series {
		e.WriteString(c.name + s.text + " " + strconv.FormatUint(s.count, 10) + "\n")
	}
}

func (e *exposition) gauge(name, help, labels string, value float64) {
	e.head(name, "gauge", help)
	e.WriteString(name + labels + " " + strconv.FormatFloat(value, 'f', -1, 64) + "\n")
}

// metrics gives all metrics. What is not known has no line.
func (b *Board) metrics() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var e exposition
	for _, c := range []*counter{b.generations, b.reads, b.readErrors, b.renewals, b.logins, b.actions, b.restarts} {
		e.counter(c)
	}
	if !b.switched.IsZero() {
		e.gauge("secretboot_generation_timestamp_seconds", "When the last generation was put in place, as Unix time.", "", unix(b.switched))
	}
	if !b.expires.IsZero() {
		e.gauge("secretboot_next_expiry_seconds", "Seconds until the first of what was delivered expires; negative once it has.", "", b.expires.Sub(b.now()).Seconds())
	}
	ready := 0.0
	if ok, _ := b.ready(); ok {
		ready = 1
	}
	e.gauge("secretboot_ready", "1 when a full generation is in place and nothing in it has expired, else 0.", "", ready)
	e.build()
	e.process()
	return e.String()
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// build tells the version that the Go toolchain recorded.
func (e *exposition) build() {
	version, goversion := "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version, goversion = info.Main.Version, info.GoVersion
	}
	e.gauge("secretboot_build_info", "Always 1; the labels say what was built.", "{version="+quote(version)+",goversion="+quote(goversion)+"}", 1)
}

// process tells of our own process, under the names that all clients of Prometheus
// use (https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics).
func (e *exposition) process() {
	if n, ok := resident(); ok {
		e.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", "", float64(n))
	}
	if n, ok := descriptors(); ok {
		e.gauge("process_open_fds", "Number of open file descriptors.", "", float64(n))
	}
}

// resident gives the bytes in memory, which are pages in proc_pid_statm(5).
func resident() (int, bool) {
	text, err := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.Atoi(fields[1])
	return pages * os.Getpagesize(), err == nil
}

// descriptors counts what is open, without the folder that tells.
func descriptors() (int, bool) {
	folder, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0, false
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	return len(names) - 1, err == nil
}
