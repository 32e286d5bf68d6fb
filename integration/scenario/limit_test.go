package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"isula.org/isulad-tools/integration/sandbox"
)

// The limits, and I/O for which they need a second and a quarter. The first
// request of a device goes through at once, and the kernel counts in slices of
// a tenth of a second: hence less than that is required.
const (
	bytesPerSecond = 512 << 10
	opsPerSecond   = 32
	blocks         = 10 // of 64 KiB
	operations     = 40 // of 4 KiB: busybox falls back to buffers where 512 bytes are not aligned
	atLeast        = 800 * time.Millisecond
)

var directIO = []struct{ what, script string }{
	{"read bps", fmt.Sprintf("dd if=DISK of=/dev/null bs=64k count=%d iflag=direct", blocks)},
	{"write bps", fmt.Sprintf("dd if=/dev/zero of=DISK bs=64k count=%d oflag=direct conv=notrunc", blocks)},
	{"read iops", fmt.Sprintf("dd if=DISK of=/dev/null bs=4k count=%d iflag=direct", operations)},
	{"write iops", fmt.Sprintf("dd if=/dev/zero of=DISK bs=4k count=%d oflag=direct conv=notrunc", operations)},
}

// io does some direct I/O on a disk inside and returns how long each took.
func (r *run) io(disk string, which ...int) []time.Duration {
	r.t.Helper()
	var took []time.Duration
	for _, i := range which {
		d := directIO[i]
		// Inside, because `runc exec` takes its time, too: in hundredths of a second.
		out := r.works("cut -d' ' -f1 /proc/uptime; " + strings.ReplaceAll(d.script, "DISK", disk) + " 2>/dev/null; cut -d' ' -f1 /proc/uptime")
		var from, to float64
		if _, err := fmt.Sscan(out, &from, &to); err != nil {
			r.t.Errorf("%s: %q: %v", d.what, out, err)
		}
		took = append(took, time.Duration((to-from)*float64(time.Second)))
	}
	return took
}

// noLimits tells whether the I/O controller is another hierarchy's: no row has
// set limits.
func noLimits() bool { return sandbox.Unified() && !inVM() }

// limitFiles are the limits of the container's cgroup.
func (r *run) limitFiles() string {
	r.t.Helper()
	if noLimits() {
		return ""
	}
	names := []string{"io.max"}
	dir := filepath.Join("/sys/fs/cgroup", r.group())
	if !sandbox.Unified() {
		dir = filepath.Join("/sys/fs/cgroup/blkio", r.group())
		names = nil
		for _, n := range []string{"read_iops", "write_iops", "read_bps", "write_bps"} {
			names = append(names, "blkio.throttle."+n+"_device")
		}
	}
	var text strings.Builder
	for _, n := range names {
		data, err := os.ReadFile(filepath.Join(dir, n))
		check(r.t, err)
		text.WriteString(strings.TrimSpace(string(data)) + "\n")
	}
	return text.String()
}

func (r *run) restarts() string {
	if !r.noNodes() {
		if got := r.limitFiles(); strings.Contains(got, r.disk.whole.String()) {
			r.t.Errorf("limits that nobody recorded: %s", got)
		}
		r.t.Logf("direct I/O without limits: %v", r.io("/dev/disk", 0, 1, 2, 3))
	}
	r.stop()
	one := func(value int) []limit {
		return []limit{{Major: 8, Minor: 1, Path: r.disk.whole.path, Value: fmt.Sprint(value)}}
	}
	r.wanted.ReadBPS, r.wanted.WriteBPS = one(bytesPerSecond), one(bytesPerSecond)
	r.wanted.ReadIOPS, r.wanted.WriteIOPS = one(opsPerSecond), one(opsPerSecond)
	r.wanted.Weight = one(500) // loop devices have none, which is no error
	r.record(r.wanted)
	check(r.t, r.start())
	if !r.noWay() {
		r.works("test -e /data/f && test -e /ro/f")
	}
	return yes
}

func (r *run) limits() string {
	n, got := r.disk.whole.String(), r.limitFiles()
	want := fmt.Sprintf("%s %d\n%[1]s %[2]d\n%[1]s %[3]d\n%[1]s %[3]d\n", n, opsPerSecond, bytesPerSecond)
	if sandbox.Unified() {
		want = fmt.Sprintf("%s rbps=%d wbps=%[2]d riops=%d wiops=%[3]d\n", n, bytesPerSecond, opsPerSecond)
	}
	if got != want {
		r.t.Errorf("limits: %q, want %q", got, want)
	}
	return yes
}

func (r *run) limitsLimit() string {
	if r.noNodes() {
		return refused
	}
	took := r.io("/dev/disk", 0, 1, 2, 3)
	r.t.Logf("direct I/O with limits: %v", took)
	for i, d := range directIO {
		if took[i] < atLeast {
			r.t.Errorf("%s is not limited: %v for what needs 1.25 s", d.what, took[i])
		}
	}
	return yes
}
