//go:build vmguest

package guest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/integration/sandbox"
)

// driven is a container that only its hooks know: a process in a mount namespace,
// with a bundle. Its hooks are driven directly, as a runtime would.
type driven struct {
	id, dir, root string
	init          *exec.Cmd
}

// newDriven makes one that asks for modules; it ends with the test.
func newDriven(t *testing.T, id, modules string) *driven {
	t.Helper()
	d := &driven{id: id, dir: filepath.Join(graph, "engines/lcr", id), root: filepath.Join("/root/driven", id)}
	if err := os.MkdirAll(d.root, 0o755); err != nil {
		t.Fatal(err)
	}
	d.asks(t, modules)
	d.begin(t)
	t.Cleanup(func() { d.end() })
	return d
}

// asks writes the bundle anew.
func (d *driven) asks(t *testing.T, modules string) {
	t.Helper()
	b := &sandbox.Bundle{Dir: d.dir, ID: d.id, Root: d.root, CgroupsPath: "/isulad/" + d.id}
	if modules != "" {
		b.Env = []string{"KERNEL_MODULES=" + modules}
	}
	if err := sandbox.WriteBundle(b); err != nil {
		t.Fatal(err)
	}
}

// begin starts the process that stands for the container's init.
func (d *driven) begin(t *testing.T) {
	t.Helper()
	d.init = exec.Command("unshare", "-m", "--propagation", "slave", "sleep", "100000")
	if err := d.init.Start(); err != nil {
		t.Fatal(err)
	}
	// unshare becomes sleep once the namespace is there.
	for range 1000 {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", d.init.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if string(comm) == "sleep\n" {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("unshare does not get to sleep")
}

// end kills the process and runs poststop.
func (d *driven) end() {
	_ = d.init.Process.Kill()
	_ = d.init.Wait()
	_ = d.command("poststop").Run()
}

// command is a hook of the container.
func (d *driven) command(stage string) *exec.Cmd {
	state := map[string]any{"ociVersion": "", "id": d.id, "pid": d.init.Process.Pid, "root": d.root, "bundle": d.dir}
	if stage == "poststop" {
		state["pid"] = -1
	}
	stdin, err := json.Marshal(state)
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(hook, "--state", stage)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = []string{}
	cmd.Dir = "/"
	return cmd
}

// starts requires prestart to succeed.
func (d *driven) starts(t *testing.T) {
	t.Helper()
	if out, err := d.command("prestart").CombinedOutput(); err != nil {
		t.Fatalf("prestart: %v: %s", err, out)
	}
}

// refused requires prestart to fail in one line that has all the words.
func (d *driven) refused(t *testing.T, words ...string) {
	t.Helper()
	out, err := d.command("prestart").CombinedOutput()
	if err == nil {
		t.Fatal("prestart succeeded")
	}
	t.Logf("refused: %s", out)
	if n := strings.Count(string(out), "\n"); n != 1 {
		t.Errorf("%d lines instead of one", n)
	}
	for _, w := range words {
		if !strings.Contains(string(out), w) {
			t.Errorf("the error does not mention %q", w)
		}
	}
}

// tool runs a command of isulad-tools.
func tool(args ...string) (stdout, stderr string, code int) {
	cmd := exec.Command("/usr/local/bin/isulad-tools", append([]string{"--engine", "runc"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		code = cmd.ProcessState.ExitCode()
	}
	return out.String(), errs.String(), code
}

// works requires a command to succeed, and returns what it prints.
func works(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, code := tool(args...)
	if code != 0 {
		t.Fatalf("isulad-tools %s: exit %d: %s", strings.Join(args, " "), code, errs)
	}
	return out
}

// failsWith requires a command to fail, in a line that has all the words.
func failsWith(t *testing.T, words []string, args ...string) {
	t.Helper()
	out, errs, code := tool(args...)
	if code != 1 {
		t.Errorf("isulad-tools %s: exit %d, %s%s", strings.Join(args, " "), code, out, errs)
	}
	t.Logf("refused: %s", errs)
	for _, w := range words {
		if !strings.Contains(errs, w) {
			t.Errorf("isulad-tools %s: the error does not mention %q: %s", strings.Join(args, " "), w, errs)
		}
	}
}
