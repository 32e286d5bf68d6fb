package packages

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// step is a command of a guide and what it says there.
type step struct {
	line    int
	command string
	want    []string
}

// steps reads a guide: indented lines, of which those that begin with # are typed.
func steps(t *testing.T, path string) []step {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []step
	for i, text := range strings.Split(string(content), "\n") {
		text, ok := strings.CutPrefix(text, "    ")
		command, typed := strings.CutPrefix(text, "# ")
		switch {
		case typed && ok:
			all = append(all, step{line: i + 1, command: command})
		case ok && len(all) > 0:
			last := &all[len(all)-1]
			last.want = append(last.want, text)
		}
	}
	if len(all) < 20 {
		t.Fatalf("%s: got only %d commands", path, len(all))
	}
	return all
}

// shell is one that a person types into; nothing is echoed.
type shell struct {
	in  *os.File
	out *bufio.Reader
}

func newShell(t *testing.T, dir string) *shell {
	t.Helper()
	stdin, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash")
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, stdin, stdout, stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	stdout.Close()
	t.Cleanup(func() {
		in.Close()
		out.Close()
		_ = cmd.Wait() // its last command's exit code is nobody's
	})
	return &shell{in, bufio.NewReader(out)}
}

// run executes a command and returns what it says.
func (s *shell) run(t *testing.T, command string) string {
	t.Helper()
	const end = "END-OF-THE-COMMAND"
	if _, err := fmt.Fprintf(s.in, "{ %s\n} </dev/null; echo %s\n", command, end); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v\n%s%s", command, err, &said, line)
		}
		if before, ended := strings.CutSuffix(line, end+"\n"); ended {
			said.WriteString(before)
			return said.String()
		}
		said.WriteString(line)
	}
}

// matches compares what was said with what a guide shows, in which ... stands for
// any text, and alone on a line for any lines.
func matches(want []string, got string) bool {
	pattern := "^"
	for _, w := range want {
		if w == "..." {
			pattern += `(?:.*\n)*`
			continue
		}
		pattern += strings.ReplaceAll(regexp.QuoteMeta(w), `\.\.\.`, ".*") + `\n`
	}
	return regexp.MustCompile(pattern + "$").MatchString(got)
}

func TestTheGuideDoesWhatItShows(t *testing.T) {
	top, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	host(t)
	put(t, "/etc/dpkg/dpkg.cfg.d/of-the-test", "no-triggers\nforce-unsafe-io\n")
	purge(t)
	dir := t.TempDir()
	content, err := os.ReadFile(made(t, shipped, "deb"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, filepath.Base(made(t, shipped, "deb"))), string(content))
	s := newShell(t, dir)
	disk := sandbox.LoopNode(t)
	for _, step := range steps(t, filepath.Join(top, "docs/guide.md")) {
		// The guide detaches the disk and attaches it again: others take the lowest free number.
		got := s.run(t, strings.NewReplacer(
			`"/web"`, `"`+sandbox.CgroupParent()+`/web"`,
			"disk=$(losetup -f --show disk.img)", "disk="+disk+" && losetup $disk disk.img",
		).Replace(step.command))
		for i := range step.want {
			step.want[i] = strings.ReplaceAll(step.want[i], "${disk}", disk)
		}
		if !matches(step.want, got) {
			t.Fatalf("guide.md:%d: %s\ngot\n%swant\n%s", step.line, step.command, got, strings.Join(step.want, "\n"))
		}
	}
}
