package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// asProgram makes this test binary the program, whatever argv[0] says.
const asProgram = "ISULAD_TOOLS_TEST_AS_PROGRAM"

// names are the six under which the program is installed.
var names = []string{
	"isulad-tools", "isulad-hooks", "isulad-tools_wrapper",
	"syscontainer-tools", "syscontainer-hooks", "syscontainer-tools_wrapper",
}

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args))
	}
	os.Exit(m.Run())
}

// TestScripts runs testdata/script/*.txtar: the program itself, as a process,
// under its names. A file holds commands, then the files that they start with,
// each behind a line "-- name --". ${WORK} is the script's folder, also in files.
func TestScripts(t *testing.T) {
	if testing.Short() {
		// Under user-mode emulation the kernel cannot execute this binary.
		t.Skip("-short: the program is not executed")
	}
	t.Parallel()
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	bin := programs(t)
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s := &script{T: t, path: path, work: t.TempDir(), bin: bin, vars: map[string]string{}, heard: map[string]*heard{}}
			s.run(s.unpack(string(content)))
		})
	}
}

// programs is a folder with the program under its six names. They are files of
// their own, for a link would be named by what it leads to.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	first := filepath.Join(dir, names[0])
	if err := os.WriteFile(first, exe, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names[1:] {
		if err := os.Link(first, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// script is one script at work.
type script struct {
	*testing.T
	path           string
	line           int
	work, bin      string
	stdout, stderr bytes.Buffer // of the last program
	took           time.Duration
	vars           map[string]string // ${NAME}: the addresses of listeners
	heard          map[string]*heard
}

func (s *script) fail(format string, args ...any) {
	s.Helper()
	s.Fatalf("%s:%d: %s\nstdout: %s\nstderr: %s", s.path, s.line, fmt.Sprintf(format, args...), &s.stdout, &s.stderr)
}

func (s *script) check(err error) {
	s.Helper()
	if err != nil {
		s.fail("%v", err)
	}
}

var fileHeader = regexp.MustCompile(`(?m)^-- (.+) --\n`)

// unpack makes the script's files and returns its commands.
func (s *script) unpack(content string) (commands string) {
	content = strings.ReplaceAll(content, "${WORK}", s.work)
	heads := fileHeader.FindAllStringSubmatchIndex(content, -1)
	if len(heads) == 0 {
		return content
	}
	for i, h := range heads {
		end := len(content)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		path := s.abs(content[h[2]:h[3]])
		s.check(os.MkdirAll(filepath.Dir(path), 0o755))
		s.check(os.WriteFile(path, []byte(content[h[1]:end]), 0o755))
	}
	return content[:heads[0][0]]
}

func (s *script) abs(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.work, name)
}

// text is the content of a file, or of the last program's stdout or stderr.
func (s *script) text(name string) string {
	s.Helper()
	switch name {
	case "stdout":
		return s.stdout.String()
	case "stderr":
		return s.stderr.String()
	}
	b, err := os.ReadFile(s.abs(name))
	s.check(err)
	return string(b)
}

// run executes commands, one a line; # begins a comment.
func (s *script) run(commands string) {
	ran := 0
	for i, text := range strings.Split(commands, "\n") {
		s.line = i + 1
		for name, value := range s.vars {
			text = strings.ReplaceAll(text, "${"+name+"}", value)
		}
		words := s.words(text)
		if len(words) == 0 {
			continue
		}
		command, ok := scriptCommands[words[0]]
		if !ok {
			s.fail("unknown command %s", words[0])
		}
		if len(words)-1 < command.args {
			s.fail("%s needs %d arguments", words[0], command.args)
		}
		command.do(s, words[1:])
		ran++
	}
	if ran == 0 {
		s.fail("no commands")
	}
}

// words splits a line at white space; ” is a quote inside of single quotes.
func (s *script) words(line string) (words []string) {
	var word strings.Builder
	in, quoted := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\'' && strings.HasPrefix(line[i+1:], "'"):
			word.WriteByte('\'')
			i++
		case c == '\'':
			in, quoted = true, !quoted
		case quoted, c != ' ' && c != '\t' && (c != '#' || in):
			word.WriteByte(c)
			in = true
		default:
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
			if c == '#' {
				return words
			}
		}
	}
	if quoted {
		s.fail("a quote is not closed")
	}
	if in {
		words = append(words, word.String())
	}
	return words
}

// scriptCommands are what a script can say.
var scriptCommands = map[string]struct {
	args int
	do   func(*script, []string)
}{
	// status CODE [-0 ARGV0] [< FILE | <&-] PROGRAM [ARG...] runs a program,
	// which ends with CODE.
	"status": {2, (*script).status},
	// stdout REGEXP and stderr REGEXP match what the last program printed, line
	// by line.
	"stdout": {1, func(s *script, args []string) { s.match(args[0], "stdout") }},
	"stderr": {1, func(s *script, args []string) { s.match(args[0], "stderr") }},
	// grep REGEXP FILE
	"grep": {2, func(s *script, args []string) { s.match(args[0], args[1]) }},
	// lines N FILE: so many whole lines without control characters.
	"lines": {2, (*script).lines},
	// cmp FILE FILE
	"cmp": {2, func(s *script, args []string) {
		if one, other := s.text(args[0]), s.text(args[1]); one != other {
			s.fail("%s is %q, %s is %q", args[0], one, args[1], other)
		}
	}},
	// cp FILE FILE
	"cp": {2, func(s *script, args []string) { s.check(os.WriteFile(s.abs(args[1]), []byte(s.text(args[0])), 0o600)) }},
	// missing FILE
	"missing": {1, func(s *script, args []string) {
		if _, err := os.Lstat(s.abs(args[0])); !errors.Is(err, os.ErrNotExist) {
			s.fail("%s is there: %v", args[0], err)
		}
	}},
	// listen unixgram|unix|udp|tcp|silence NAME: ${NAME} is its address.
	"listen": {2, (*script).listen},
	// received NAME REGEXP, sooner or later
	"received": {2, (*script).received},
	// mode OCTAL FILE
	"mode": {2, (*script).mode},
	// faster DURATION: the last program was.
	"faster":  {1, (*script).faster},
	"mkdir":   {1, func(s *script, args []string) { s.check(os.MkdirAll(s.abs(args[0]), 0o755)) }},
	"symlink": {2, func(s *script, args []string) { s.check(os.Symlink(args[1], s.abs(args[0]))) }},
}

func (s *script) match(pattern, name string) {
	s.Helper()
	if re := regexp.MustCompile("(?m)" + pattern); !re.MatchString(s.text(name)) {
		s.fail("no %q in %s: %q", pattern, name, s.text(name))
	}
}

func (s *script) lines(args []string) {
	want, err := strconv.Atoi(args[0])
	s.check(err)
	text := s.text(args[1])
	if got := strings.Count(text, "\n"); got != want || text != "" && !strings.HasSuffix(text, "\n") {
		s.fail("%s has %d lines, want %d", args[1], got, want)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
		s.fail("%s has control characters: %q", args[1], text)
	}
}

func (s *script) status(args []string) {
	want, err := strconv.Atoi(args[0])
	s.check(err)
	args = args[1:]
	var argv0 *string
	if args[0] == "-0" {
		argv0, args = &args[1], args[2:]
	}
	cmd := &exec.Cmd{Dir: s.work, Stdout: &s.stdout, Stderr: &s.stderr}
	closed := false
	switch args[0] {
	case "<":
		cmd.Stdin, args = strings.NewReader(s.text(args[1])), args[2:]
	case "<&-":
		closed, args = true, args[1:]
	}
	cmd.Path = filepath.Join(s.bin, args[0])
	cmd.Args = args
	switch {
	case argv0 != nil:
		cmd.Args = append([]string{*argv0}, args[1:]...)
	case closed: // Go always gives a child one; a shell can close it
		cmd.Args = append([]string{"sh", "-c", `exec "$@" <&-`, "sh", cmd.Path}, args[1:]...)
		cmd.Path = "/bin/sh"
	}
	cmd.Env = []string{
		"PATH=" + s.abs("bin") + ":/usr/bin:/bin", asProgram + "=1",
		"GOCOVERDIR=" + os.Getenv("GOCOVERDIR"), "GORACE=atexit_sleep_ms=0", // else each run takes a second with -race
	}
	s.stdout.Reset()
	s.stderr.Reset()
	start := time.Now()
	err = cmd.Run()
	s.took = time.Since(start)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.fail("%v", err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		s.fail("exit code %d, want %d", got, want)
	}
}
