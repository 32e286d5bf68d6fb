package scenario

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/integration/sandbox"
)

// racers is what a container's root does as fast as it can, while it is given
// things below /r and they are taken away: it renames what is above them, puts links
// to names that are too long there, copies mounts and namespaces, cuts them off.
const racers = `
l=n; while [ ${#l} -lt 300 ]; do l=n$l; done
mkdir -p /r /keep
( while :; do mv /r /q && ln -s $l /r; rm -f /r; mv /q /r; mkdir -p /r; done ) &
( while :; do for m in /r/data /q/data; do mount -o bind $m /keep && mount --make-rprivate /keep; umount -l /keep; done; done ) &
( while :; do unshare -m sh -c 'mount --make-rprivate /; sleep 0.02'; done ) &
`

// race is what became of the changes of one kind.
type race struct{ given, taken, refused, left int }

// TestAgainstRacers gives and takes one of each kind, again and again, while the
// container does what it can. What is said to be gone is: no permission, no mount in
// any of its namespaces, no link.
func TestAgainstRacers(t *testing.T) {
	const rounds = 300
	install(t)
	sandbox.Udevadm(t, "true")
	b := newBox(t, kind{real: true}, id)
	b.record(recorded{})
	check(t, b.start())
	t.Cleanup(func() { b.stop() })
	data := scratch(t)
	check(t, os.WriteFile(filepath.Join(data, "f"), []byte("secret"), 0o644))
	for _, args := range [][]string{{"link", "add", links + "race", "type", "veth", "peer", "name", links + "far"}} {
		check(t, exec.Command("ip", args...).Run())
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", links+"far").Run() })
	if _, err := b.sh("(" + racers + ") >/dev/null 2>&1 </dev/null & sleep 0.1"); err != nil {
		t.Fatal(err)
	}
	// It renames its links, too; this container's root may not.
	rename := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", b.pid()), "sh", "-c", "while :; do ip link set eth5 down && ip link set eth5 name w5; done 2>/dev/null")
	check(t, rename.Start())
	t.Cleanup(func() { _ = rename.Process.Kill(); _ = rename.Wait() })
	kinds := []struct {
		name      string
		add, take []string
		left      func() string // what the container still has
	}{
		{"device", []string{"add-device", NAME, "/dev/fuse:/r/fuse:rw"}, []string{"remove-device", NAME, "/dev/fuse:/r/fuse"}, b.mayUseFuse},
		{"path", []string{"add-path", NAME, data + ":/r/data:rw,rslave"}, []string{"remove-path", NAME, data + ":/r/data"}, func() string { return b.mountedFrom(data) }},
		{"link", []string{"add-nic", "--type", "eth", "--name", links + "race:eth5", "--ip", "10.9.0.2/24", NAME}, []string{"remove-nic", "--name", links + "race:eth5", NAME}, func() string {
			if exec.Command("ip", "link", "show", links+"race").Run() != nil {
				return "the host's link"
			}
			return ""
		}},
	}
	for _, k := range kinds {
		var r race
		begin := time.Now()
		for range rounds {
			if _, err := b.quietly(k.add); err == nil {
				r.given++
			}
			_, err := b.quietly(k.take)
			for try := 0; err != nil && !strings.Contains(err.Error(), "not added by") && !strings.Contains(err.Error(), "not exist in") && try < 20; try++ {
				r.refused++ // it says so; the container may be slower next time
				_, err = b.quietly(k.take)
			}
			if err == nil {
				r.taken++
			}
			if left := k.left(); left != "" {
				if r.left++; r.left == 1 {
					t.Errorf("%s: the container still has %s; the last answer was %v", k.name, left, err)
				}
				if k.name == "link" {
					break // there is no other one to lend
				}
			}
		}
		t.Logf("%s: %d given, %d taken, %d times said to be held, left %d times, in %v", k.name, r.given, r.taken, r.refused, r.left, time.Since(begin).Round(time.Second))
		if r.given < rounds/10 {
			t.Errorf("%s: given %d times only", k.name, r.given)
		}
	}
}

// quietly runs a command; its warnings are of no interest.
func (b *box) quietly(args []string) (string, error) {
	cmd, err := b.command(args...)
	check(b.t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return string(out), err
}

// mayUseFuse is the container's permission for /dev/fuse.
func (b *box) mayUseFuse() string {
	for _, rule := range b.permitted() {
		if strings.Contains(rule, "10:229") {
			return "the permission " + rule
		}
	}
	return ""
}

// mountedFrom is a mount of the host's folder in a namespace of the container's.
func (b *box) mountedFrom(dir string) string {
	text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/devices", sandbox.CgroupParent(), b.id, "cgroup.procs"))
	check(b.t, err)
	for pid := range strings.FieldsSeq(string(text)) {
		table, _ := os.ReadFile("/proc/" + pid + "/mountinfo") // it may have ended
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); strings.HasSuffix(f[3], filepath.Base(dir)) && !strings.HasPrefix(f[4], "/.sharedpath/") {
				return "the mount on " + f[4] + " of process " + pid
			}
		}
	}
	return ""
}
