package units

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/config"
)

// A container can mount a file system whose server never answers. Whoever waits for it
// is told where, in time, and everybody else is served.
func TestAFileSystemThatDoesNotAnswerHoldsNobodyUp(t *testing.T) {
	data := hostDir(t)
	prestart := func(t *testing.T, b *bundle) *program {
		return start(t, b.state, "prestart", "--log", filepath.Join(t.TempDir(), "log"))
	}
	tool := func(args ...string) func(*testing.T, *bundle) *program {
		return func(t *testing.T, b *bundle) *program {
			return b.startTool(t, strings.Split(strings.ReplaceAll(strings.Join(args, "\n"), "ID", b.id), "\n")...)
		}
	}
	addPath, addFile := tool("add-path", "ID", data+":/mnt/x"), tool("add-path", "ID", data+"/file:/mnt/x")
	addDevice, removeDevice := tool("add-device", "ID", "/dev/zero:/mnt/x"), tool("remove-device", "ID", "/dev/zero:/mnt/x")
	removePath := tool("remove-path", "ID", data+":/mnt/x")
	path := `{"bindToAdd":["` + data + `:/mnt/x:rw"]}`
	device := `{"deviceToAdd":[{"Type":"c","Minor":5,"Major":1,"PathOnHost":"/dev/zero","PathInContainer":"/mnt/x","CgroupPermissions":"rw","Parent":""}]}`
	node := func(_ *testing.T, _ *bundle, s *server) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.make("x", unix.S_IFCHR|0o666, 1<<8|5)
	}
	mounted := func(t *testing.T, b *bundle, s *server) {
		if got := addPath(t, b).wait(); got.code != 0 {
			t.Errorf("add-path: %+v", got)
		}
		s.silent.Store(fuseAnything)
	}
	// What it says, and with which exit code. What is not even asked says nothing.
	const fails, warns, quiet = 1, 0, -1
	for _, c := range []struct {
		name     string
		silent   uint32
		recorded string
		there    func(*testing.T, *bundle, *server)
		do       func(*testing.T, *bundle) *program
		end      int
	}{
		{"add-path, not a word", fuseAnything, "", nil, addPath, fails},
		{"add-path, is it there", fuseLookup, "", nil, addPath, fails},
		{"add-path, open the folder", fuseOpendir, "", nil, addPath, fails},
		{"add-path, make a folder", fuseMkdir, "", nil, addPath, fails},
		{"add-path, its owner", fuseSetattr, "", nil, addPath, fails},
		{"add-path, make a file", fuseCreate, "", nil, addFile, fails},
		{"add-path, close it", fuseFlush, "", nil, addFile, fails},
		{"add-device, not a word", fuseAnything, "", nil, addDevice, fails},
		{"add-device, make a node", fuseMknod, "", nil, addDevice, fails},
		{"remove-device, not a word", fuseAnything, device, nil, removeDevice, warns},
		{"remove-device, its node", fuseUnlink, device, node, removeDevice, warns},
		{"remove-path, of what is not mounted", fuseAnything, path, nil, removePath, quiet},
		{"a start with a device", fuseAnything, device, nil, prestart, fails},
		{"a start with a path, which it can do without", fuseAnything, path, nil, prestart, quiet},
		{"check, of a device", fuseAnything, device, nil, tool("check", "ID"), 2},
		{"check, of a path", fuseAnything, path, nil, tool("check", "ID"), 2},
		{"inspect, of a device", fuseAnything, device, nil, tool("inspect", "ID"), fails},
		{"remove-path, not a word any more", fuseNothing, "", mounted, removePath, fails},
	} {
		if c.silent == fuseNothing && lacks(unix.SYS_MOUNT_SETATTR) {
			continue // nothing can be mounted there
		}
		b := inBundle(t, hold(t, nil), c.recorded)
		s := b.serve(t, b.image+"/mnt", c.silent)
		if c.there != nil {
			c.there(t, b, s)
		}
		p := c.do(t, b) // all of them wait at the same time
		defer t.Run(c.name, func(t *testing.T) {
			p.t = t
			// A call that the server has read cannot even be killed: until it ends, so
			// does nobody who waits for the program. It has said why, and has let go.
			if c.end != quiet {
				took := p.says(t, "does not answer")
				if took > 20*time.Second {
					t.Errorf("it took %v to say so", took)
				}
				if got := b.tool(t, "list-path", b.id); got.code != 0 {
					t.Errorf("another command: %+v", got)
				}
				s.end()
			}
			got := p.wait()
			if got.code != max(c.end, 0) || c.end != quiet && (!strings.Contains(got.said, "/mnt") || !strings.Contains(got.said, "container "+b.id)) {
				t.Errorf("exit code %d, %q; want %d, and what was waited for", got.code, got.said, max(c.end, 0))
			}
			if !s.asked.Load() {
				t.Error("the file system was not asked")
			}
			// What could not be added is not, what could not be taken away, or was only looked at,
			// still is.
			stays := c.recorded != "" && (strings.HasPrefix(c.name, "a start") || strings.Contains(c.name, ", of a ")) || strings.HasSuffix(c.name, "any more")
			if now := read(t, filepath.Join(b.dir, config.Name)); strings.Contains(now, "/mnt/x") != stays {
				t.Errorf("recorded is %s", now)
			}
			b.hook(t, "poststop")
		})
	}
}

// sitsIn tells whether a thread of the program is in this system call.
func (p *program) sitsIn(call int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", p.cmd.Process.Pid))
	return slices.ContainsFunc(threads, func(file string) bool {
		text, _ := os.ReadFile(file)
		return strings.HasPrefix(string(text), fmt.Sprint(call, " "))
	})
}

// ignores tells whether the program ignores a signal: so does a change that waits for
// nothing.
func (p *program) ignores(signal unix.Signal) bool {
	for line := range strings.Lines(read(p.t, fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))) {
		if mask, ok := strings.CutPrefix(line, "SigIgn:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			must(p.t, err)
			return bits&(1<<(signal-1)) != 0
		}
	}
	return false
}

func TestAnInterruptEndsWaiting(t *testing.T) {
	isula := hangs(t, "isula")
	data := hostDir(t)
	for _, c := range []struct {
		name string
		do   func(*testing.T, *bundle) (p *program, waits func() bool)
		says string
	}{
		{"for a file system", func(t *testing.T, b *bundle) (*program, func() bool) {
			b.fakeContainer.serve(t, b.image+"/mnt", fuseAnything)
			p, looks := b.startTool(t, "add-path", b.id, data+":/mnt/x"), 0
			return p, func() bool {
				if looks++; !p.sitsIn(unix.SYS_OPENAT2) || p.ignores(unix.SIGTERM) {
					looks = 0
				}
				return looks > 20 // one that is answered is over by then
			}
		}, "/mnt/x in container "},
		{"for a lock", func(t *testing.T, b *bundle) (*program, func() bool) {
			f, err := os.OpenFile(filepath.Join(b.dir, config.LockName), os.O_RDWR|os.O_CREATE, 0o600)
			must(t, err)
			t.Cleanup(func() { f.Close() })
			must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
			p := b.startTool(t, "add-path", b.id, data+":/mnt/x")
			return p, func() bool { return p.sitsIn(unix.SYS_FLOCK) }
		}, config.LockName},
		{"for isulad", func(t *testing.T, b *bundle) (*program, func() bool) {
			return start(t, "", "add-path", b.id, data+":/mnt/x"), func() bool { return strings.Contains(isula(), b.id) }
		}, "isula"},
	} {
		for _, by := range []os.Signal{unix.SIGINT, unix.SIGTERM} {
			t.Run(c.name+", "+by.String(), func(t *testing.T) {
				t.Parallel()
				b := inBundle(t, hold(t, nil), "{}")
				p, waits := c.do(t, b)
				for !waits() {
					if time.Since(p.begun) > 30*time.Second {
						t.Fatalf("it does not wait, but says %q", p.said())
					}
					time.Sleep(time.Millisecond)
				}
				must(t, p.cmd.Process.Signal(by))
				got := p.wait()
				if got.code != 1 || !strings.Contains(got.said, "interrupted") || !strings.Contains(got.said, c.says) || got.took > 10*time.Second {
					t.Errorf("%+v; want an interrupt that says what was waited for", got)
				}
				if now := read(t, filepath.Join(b.dir, config.Name)); strings.Contains(now, "/mnt/x") {
					t.Errorf("recorded is %s", now)
				}
			})
		}
	}
}
