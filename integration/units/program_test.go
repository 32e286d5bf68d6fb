package units

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/place"
	"isula.org/isulad-tools/internal/process"
)

// outcome is what came of a program.
type outcome struct {
	code int
	said string
	took time.Duration
	rss  int64 // the most memory that it had, in bytes
}

// program starts the binary under test. It is killed after a minute, which fails
// the test: nothing of ours waits for so long.
type program struct {
	t     testing.TB
	cmd   *exec.Cmd
	out   output
	begun time.Time
	late  *time.Timer
	ended chan struct{}
	err   error // of waiting, and
	took  time.Duration
}

func start(t testing.TB, stdin string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(sandbox.Binary(t), args...), begun: time.Now(), ended: make(chan struct{})}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = strings.NewReader(stdin), &p.out, &p.out
	must(t, p.cmd.Start())
	p.late = time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	go func() {
		p.err = p.cmd.Wait()
		p.took = time.Since(p.begun)
		close(p.ended)
	}()
	return p
}

// said is what it has printed so far.
func (p *program) said() string {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	return p.out.text.String()
}

// output may be read while it is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	last time.Time // when it was written to
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = time.Now()
	return o.text.Write(p)
}

func (p *program) wait() outcome {
	p.t.Helper()
	<-p.ended
	o := outcome{said: p.said(), took: p.took}
	if exit := (*exec.ExitError)(nil); p.err != nil && !errors.As(p.err, &exit) {
		p.t.Fatal(p.err)
	}
	if !p.late.Stop() {
		p.t.Fatalf("%q waits for ever; it said %s", p.cmd.Args, o.said)
	}
	o.code, o.rss = p.cmd.ProcessState.ExitCode(), p.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss<<10
	return o
}

// tool runs a command on containers of plain runc.
func (b *bundle) tool(t testing.TB, args ...string) outcome {
	t.Helper()
	return b.startTool(t, args...).wait()
}

func (b *bundle) startTool(t testing.TB, args ...string) *program {
	t.Helper()
	return start(t, "", append([]string{"--engine", "runc:" + b.runc}, args...)...)
}

// hook runs a stage of the hook.
func (b *bundle) hook(t testing.TB, stage string) outcome {
	t.Helper()
	return b.startHook(t, stage).wait()
}

func (b *bundle) startHook(t testing.TB, stage string) *program {
	t.Helper()
	return start(t, b.state, stage, "--log", filepath.Join(t.TempDir(), "log"))
}

// bundle is a held container as runc and the hooks know it.
type bundle struct {
	*fakeContainer
	dir   string
	runc  string // runc's --root
	state string // for a hook's standard input
}

// inBundle makes a bundle for a held container, with this resource file.
func inBundle(t testing.TB, h *fakeContainer, recorded string) *bundle {
	t.Helper()
	b := &bundle{fakeContainer: h, dir: filepath.Join(t.TempDir(), "bundle"), runc: t.TempDir()}
	init, err := process.ByPID(h.pid)
	must(t, err)
	write(t, filepath.Join(b.dir, container.SpecName), asJSON(t, map[string]any{
		"root":  map[string]any{"path": h.image},
		"linux": map[string]any{"cgroupsPath": h.cgroup},
	}))
	if recorded != "" {
		write(t, filepath.Join(b.dir, config.Name), recorded)
	}
	write(t, filepath.Join(b.runc, h.id, "state.json"), asJSON(t, map[string]any{
		"id": h.id, "init_process_pid": init.PID, "init_process_start": init.Start, "config": map[string]any{"labels": []string{"bundle=" + b.dir}},
	}))
	t.Cleanup(func() { // of a container that nobody stopped
		os.Remove(filepath.Join(place.Isulad.Starts(), "."+h.id+".granted"))
	})
	b.state = asJSON(t, map[string]any{"id": h.id, "pid": h.pid, "bundle": b.dir, "root": h.image})
	return b
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	must(t, err)
	return string(data)
}

// says waits until the program has printed text, and returns how long its last word took.
func (p *program) says(t testing.TB, text string) time.Duration {
	t.Helper()
	for !strings.Contains(p.said(), text) {
		if time.Since(p.begun) > time.Minute {
			t.Fatalf("it does not say %q, but %q", text, p.said())
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	return p.out.last.Sub(p.begun)
}
