package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isula.org/isulad-tools/integration/isula"
	"isula.org/isulad-tools/integration/sandbox"
)

// NAME in the arguments of tool is the container's.
const NAME = "NAME"

// name is what a person calls the container. Plain runc has nothing but ids.
func (b *box) name() string {
	if b.real && !b.daemon && b.podman == nil {
		return b.id
	}
	return b.isulad.Name
}

// command is a run of the command line tool on the container's kernel.
func (b *box) command(args ...string) (*exec.Cmd, error) {
	argv := []string{"isulad-tools"}
	if b.podman != nil {
		argv = append(argv, "--engine", "podman:"+b.podman.Graph())
	} else if b.real && !b.daemon {
		argv = append(argv, "--engine", "runc")
	}
	for _, a := range args {
		if a == NAME {
			a = b.name()
		}
		argv = append(argv, a)
	}
	path, argv, err := b.kernel.Command(sandbox.Binary(b.t), argv)
	if err != nil {
		return nil, err
	}
	return &exec.Cmd{
		Path: path, Args: argv, Dir: "/",
		Env: []string{"PATH=" + isula.Bin + ":/usr/sbin:/usr/bin:/sbin:/bin"},
	}, nil
}

// tool runs it and returns its standard output; the error has its standard
// error.
func (b *box) tool(args ...string) (string, error) {
	out, said, err := b.streams(args...)
	if err == nil && said != "" {
		err = fmt.Errorf("%s: succeeded, and said %q", strings.Join(args, " "), said)
	}
	return out, err
}

// streams is tool for a command that may have something to say though it succeeds.
func (b *box) streams(args ...string) (out, said string, err error) {
	cmd, err := b.command(args...)
	if err != nil {
		return "", "", err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), stderr.String(), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), stderr.String(), nil
}

// warns requires a command to succeed, and to say this besides.
func (b *box) warns(warning string, args ...string) {
	b.t.Helper()
	out, said, err := b.streams(args...)
	check(b.t, err)
	if strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "warning: ") || !strings.HasSuffix(said, warning+"\n") || !strings.HasSuffix(out, " done.\n") {
		b.t.Errorf("%q said %q and %q, want a warning: %s", args, out, said, warning)
	}
}

// does requires a command to succeed and to say these lines.
func (b *box) does(args []string, lines ...string) {
	b.t.Helper()
	out, err := b.tool(args...)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], NAME, b.name()) + "\n"
	}
	if d := cmp.Diff(strings.Join(lines, ""), out); d != "" {
		b.t.Errorf("%q said (-want +got):\n%s", args, d)
	}
}

// refuses requires a command to fail, to say why in words of its own, and to
// change neither the file nor the container.
func (b *box) refuses(args []string, words ...string) {
	b.t.Helper()
	before, file := b.everything(), b.records()
	out, err := b.tool(args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || out != "" {
		b.t.Errorf("%q: %v, printed %q; want exit status 1", args, err, out)
		return
	}
	b.t.Logf("refused: %v", err)
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			b.t.Errorf("the error does not say %q", w)
		}
	}
	for _, d := range before.Diff(b.everything(), "file "+b.bundle) {
		b.t.Errorf("%q was refused, and changed: %s", args, d)
	}
	if d := cmp.Diff(file, b.records()); d != "" {
		b.t.Errorf("%q was refused, and the file changed:\n%s", args, d)
	}
}

// records are what device_hook.json holds.
func (b *box) records() recorded {
	b.t.Helper()
	r, err := readFile(b.bundle)
	check(b.t, err)
	return r
}

func readFile(bundle string) (r recorded, err error) {
	text, err := os.ReadFile(filepath.Join(bundle, "device_hook.json"))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

// holds requires device_hook.json to hold exactly this.
func (b *box) holds(want recorded) {
	b.t.Helper()
	if d := cmp.Diff(want, b.records()); d != "" {
		b.t.Errorf("device_hook.json (-want +got):\n%s", d)
	}
}

// The stand-in answers as the real client does, and waits as it does.
func TestStandInIsula(t *testing.T) {
	b := newBox(t, kind{}, id)
	ask := func(args ...string) (string, error) {
		cmd := exec.Command(filepath.Join(isula.Bin, "isula"), args...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, name := range []string{b.name(), b.id, b.id[:6]} {
		out, err := ask("inspect", name)
		if err != nil || !strings.Contains(out, `"Id": "`+b.id+`"`) || !strings.Contains(out, `"Pid": 0,`) || !strings.Contains(out, b.bundle+"/resolv.conf") {
			t.Errorf("inspect %s: %v: %s", name, err, out)
		}
	}
	if out, err := ask("inspect", "nosuch"); err == nil || !strings.HasSuffix(out, "Inspect error: No such object:nosuch\n") {
		t.Errorf("inspect of none: %v: %s", err, out)
	}
	check(t, b.isulad.Do(func() (int, error) {
		out, err := ask("inspect", "-t", "1", b.name())
		if err == nil || !strings.Contains(out, "inspect failed due to trylock timeout for 1s.") {
			t.Errorf("inspect while it starts: %v: %s", err, out)
		}
		return 4711, nil
	}))
	if out, err := ask("inspect", b.id); err != nil || !strings.Contains(out, `"Pid": 4711,`) {
		t.Errorf("inspect of a running one: %v: %s", err, out)
	}
}
