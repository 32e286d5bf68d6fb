package scenario

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// raceRounds is how often one of each kind is given and taken; RACE_ROUNDS says
// otherwise. Of 300 rounds the last version without a ledger (d4b900a) left the path in
// 142 and the link in 233, each said to be done, and 68 times it could not take the
// device: ISULAD_TOOLS_BIN is the binary to see that again with.
const raceRounds = 20

// TestAgainstRacers gives and takes one of each kind, again and again, while the
// container does what it can. What is said to be gone is: no permission, no mount in
// any of its namespaces, no link.
func TestAgainstRacers(t *testing.T) {
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("RACE_ROUNDS"), strconv.Itoa(raceRounds)))
	check(t, err)
	install(t)
	sandbox.Udevadm(t, "true")
	b := newBox(t, kind{real: true}, id)
	b.record(recorded{})
	check(t, b.start())
	t.Cleanup(func() { b.stop() })
	data := scratch(t)
	check(t, os.WriteFile(filepath.Join(data, "f"), []byte("secret"), 0o644))
	lend := func() {
		_ = exec.Command("ip", "link", "del", links+"far").Run() // with its other end, wherever that is
		check(t, exec.Command("ip", "link", "add", links+"race", "type", "veth", "peer", "name", links+"far").Run())
	}
	lend()
	check(t, exec.Command("ip", "link", "add", links+"pit", "type", "bridge").Run())
	t.Cleanup(func() {
		for _, name := range []string{"far", "pit", "pair"} {
			_ = exec.Command("ip", "link", "del", links+name).Run()
		}
	})
	if _, err := b.sh("(" + racers + ") >/dev/null 2>&1 </dev/null & sleep 0.1"); err != nil {
		t.Fatal(err)
	}
	// It renames its links, too; this container's root may not.
	rename := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", b.pid()), "sh", "-c", "while :; do for i in 5 6; do ip link set eth$i down && ip link set eth$i name w$i; done; done 2>/dev/null")
	check(t, rename.Start())
	t.Cleanup(func() { _ = rename.Process.Kill(); _ = rename.Wait() })
	for _, k := range []struct {
		name      string
		add, take []string
		left      func() []string // what the container still has
		cleared   bool            // by asking
	}{
		{"device", []string{"add-device", NAME, "/dev/fuse:/r/fuse:rw"}, []string{"remove-device", NAME, "/dev/fuse:/r/fuse"}, b.mayUseFuse, false},
		{"path", []string{"add-path", NAME, data + ":/r/data:rw,rslave"}, []string{"remove-path", NAME, data + ":/r/data"}, func() []string { return b.mountedFrom(data) }, false},
		{"link", []string{"add-nic", "--type", "eth", "--name", links + "race:eth5", "--ip", "10.9.0.2/24", NAME}, []string{"remove-nic", "--name", links + "race:eth5", NAME}, func() []string {
			if exec.Command("ip", "link", "show", links+"race").Run() == nil {
				return nil
			}
			lend() // another one
			return []string{"the host's link"}
		}, true},
		{"pair", []string{"add-nic", "--type", "veth", "--bridge", links + "pit", "--name", links + "pair:eth6", "--ip", "10.9.1.2/24", NAME}, []string{"remove-nic", "--name", links + "pair:eth6", NAME}, func() []string {
			if exec.Command("ip", "link", "del", links+"pair").Run() != nil {
				return nil
			}
			return []string{"a port in the bridge"}
		}, true},
	} {
		t.Run(k.name, func(t *testing.T) {
			var r race
			begin := time.Now()
			before := 0 // of what the rounds before have left
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
				left := k.left()
				if len(left) > before {
					if r.left++; r.left == 1 {
						t.Errorf("the container still has %s; the last answer was %v", left[0], err)
					}
				}
				if before = len(left); k.cleared {
					before = 0
				}
			}
			t.Logf("%d given, %d taken, %d times said to be held, left %d times, in %v", r.given, r.taken, r.refused, r.left, time.Since(begin).Round(time.Second))
			if r.given < rounds/10 {
				t.Errorf("given %d times only", r.given)
			}
		})
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
func (b *box) mayUseFuse() (list []string) {
	for _, rule := range b.permitted() {
		if strings.Contains(rule, "10:229") {
			list = append(list, "the permission "+rule)
		}
	}
	return list
}

// mountedFrom are the mounts of the host's folder in the container's namespaces.
func (b *box) mountedFrom(dir string) (list []string) {
	text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/devices", sandbox.CgroupParent(), b.id, "cgroup.procs"))
	check(b.t, err)
	for pid := range strings.FieldsSeq(string(text)) {
		table, _ := os.ReadFile("/proc/" + pid + "/mountinfo") // it may have ended
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); strings.HasSuffix(f[3], filepath.Base(dir)) && !strings.HasPrefix(f[4], "/.sharedpath/") {
				list = append(list, "the mount on "+f[4]+" of process "+pid)
			}
		}
	}
	return list
}
