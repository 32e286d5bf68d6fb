package command

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func script(t *testing.T, text string, args ...string) Cmd {
	t.Helper()
	return Cmd{Path: "/bin/sh", Args: append([]string{"-c", text, "sh"}, args...)}
}

func TestFindLooksInTheFixedFoldersOnly(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "only-here")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	_, err := LookPath("only-here")
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), Path) {
		t.Errorf("Find of a program that only PATH has: %v, want an error that names %s", err, Path)
	}
	got, err := LookPath("sh")
	if err != nil || !filepath.IsAbs(got) {
		t.Errorf("Find(sh) = %q, %v", got, err)
	}
}

func TestFindTakesTheFirstExecutableFile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var dirs []string
	for _, d := range []string{"missing", "directory", "notexec", "link", "later"} {
		dirs = append(dirs, filepath.Join(root, d))
	}
	for _, d := range dirs[1:] {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dirs[1], "p"), 0o755))
	must(os.WriteFile(filepath.Join(dirs[2], "p"), nil, 0o644))
	must(os.WriteFile(filepath.Join(dirs[4], "p"), nil, 0o755))
	must(os.Symlink(filepath.Join(dirs[4], "p"), filepath.Join(dirs[3], "p")))
	got, err := lookPathIn("p", strings.Join(dirs, ":"))
	if want := filepath.Join(dirs[3], "p"); err != nil || got != want {
		t.Errorf("find = %q, %v, want %q", got, err, want)
	}
	for _, name := range []string{"", "../p", "/bin/sh"} {
		if got, err := lookPathIn(name, strings.Join(dirs, ":")); err == nil {
			t.Errorf("find(%q) = %q, want an error", name, got)
		}
	}
}

func TestRunGivesACleanWorld(t *testing.T) {
	t.Setenv("LD_PRELOAD_OF_OURS", "1")
	out, err := script(t, `env; pwd; echo "in=$(cat | wc -c)"; echo "args=$*"`, "--", "a b").Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out.Stdout)), "\n")
	want := map[string]bool{"LC_ALL=C": false, "PATH=" + Path: false, "PWD=/": false, "/": false, "in=0": false, "args=-- a b": false}
	for _, l := range lines {
		if _, ok := want[l]; ok {
			want[l] = true
		} else if !strings.HasPrefix(l, "_=") && !strings.HasPrefix(l, "SHLVL=") && !strings.HasPrefix(l, "OLDPWD=") {
			t.Errorf("unexpected line %q", l)
		}
	}
	for l, seen := range want {
		t.Run(l, func(t *testing.T) {
			if !seen {
				t.Errorf("no line %q in %q", l, lines)
			}
		})
	}
}

func TestRunNamesTheProgramByItsBaseNameAndTakesMoreEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	multi := filepath.Join(dir, "name-we-use")
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sh, multi); err != nil {
		t.Fatal(err)
	}
	out, err := Cmd{Path: multi, Args: []string{"-c", `tr '\0' '|' </proc/$$/cmdline; echo; echo "$PATH $MORE"`}, Env: []string{"MORE=m", "PATH=/bin:/usr/bin"}}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := string(out.Stdout); !strings.Contains(got, "name-we-use|-c|") || strings.Contains(got, dir) || !strings.HasSuffix(got, "/bin:/usr/bin m\n") {
		t.Errorf("stdout %q", got)
	}
}

func TestRunPutsStderrOnOneLineOfTheError(t *testing.T) {
	t.Parallel()
	out, err := script(t, `echo out; printf 'first\nsecond\033[31m\n' >&2; exit 3`).Run(t.Context())
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("error %v, want exit status 3", err)
	}
	if got, want := err.Error(), `execute sh: exit status 3: first; second\x1b[31m`; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if string(out.Stdout) != "out\n" || string(out.Stderr) != "first\nsecond\x1b[31m\n" {
		t.Errorf("output %q", out)
	}
}

func TestRunBoundsWhatItKeeps(t *testing.T) {
	t.Parallel()
	big := script(t, `head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2`)
	big.Limit = 1000
	out, err := big.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "more than 1000 bytes") {
		t.Errorf("error %.200v, want one about 1000 bytes", err)
	}
	if len(out.Stdout) != 1000 || len(out.Stderr) != stderrLimit {
		t.Errorf("kept %d and %d bytes", len(out.Stdout), len(out.Stderr))
	}
	if len(err.Error()) > 8*lineLimit {
		t.Errorf("error of %d bytes", len(err.Error()))
	}
}

func TestRunKillsTheWholeGroupWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	pidfile := filepath.Join(t.TempDir(), "pid")
	cause := errors.New("the start's time is over")
	go func() {
		for {
			if b, err := os.ReadFile(pidfile); err == nil && strings.HasSuffix(string(b), "\n") {
				cancel(cause)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := script(t, `echo working >&2; sleep 1000 & echo $! >"$1.new"; mv "$1.new" "$1"; wait`, pidfile).Run(ctx)
	if !errors.Is(err, cause) {
		t.Fatalf("error %v, want %v", err, cause)
	}
	if got, want := err.Error(), "execute sh: killed: the start's time is over: working"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	b, err := os.ReadFile(pidfile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	// Killed, it is a zombie until its new parent looks, or gone.
	for {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			break
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRunDoesNotStartWithoutTime(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	mark := filepath.Join(t.TempDir(), "mark")
	_, err := script(t, `: >"$1"`, mark).Run(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "not started") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the program ran")
	}
}

func TestRunDoesNotWaitForAChildThatHoldsThePipe(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := script(t, `sleep 1000 & echo $!`).Run(ctx)
	if err != nil || ctx.Err() != nil {
		t.Fatalf("error %v, context %v", err, ctx.Err())
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out.Stdout)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the child does not live any more: %v", err)
	}
}

func TestAwaitGivesUpOnWhatDoesNotDie(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	never := make(chan struct{})
	defer close(never)
	cancel()
	err := waitAtMost(ctx, func() error { <-never; return nil }, time.Millisecond)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestRunErrorsNameTheProgram(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"sh", "/nonexistent/program", "/etc/passwd"} {
		_, err := Cmd{Path: path}.Run(t.Context())
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("Run(%q): %v, want an *Error that names it", path, err)
		}
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                   "",
		"\n \r\n":                            "",
		"one":                                "one",
		"  one\r\n\n two\tthree\n":           "one; two three",
		"ünï “quoted” \"plain\" 'x'":         "ünï “quoted” \"plain\" 'x'",
		"a\x00b\x7f\xff":                     `a\x00b\u007f\xff`,
		"\u202eevil":                         `\u202eevil`,
		strings.Repeat("x", lineLimit):       strings.Repeat("x", lineLimit),
		strings.Repeat("x", lineLimit) + "y": strings.Repeat("x", lineLimit) + " ...",
	} {
		t.Run(in, func(t *testing.T) {
			if got := OneLine(in); got != want {
				t.Errorf("OneLine(%q) = %q, want %q", in, got, want)
			}
		})
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("modprobe: WARNING: Module x not found\nnext\x1b[0m")
	f.Fuzz(func(t *testing.T, in string) {
		got := OneLine(in)
		for _, r := range got {
			if r < ' ' || r == 0x7f || r == '\u2028' {
				t.Fatalf("OneLine(%q) = %q keeps %q", in, got, r)
			}
		}
		// "\U0010ffff" is ten characters for four bytes, "; " two for one.
		if len(got) > 4*lineLimit+10 {
			t.Fatalf("%d bytes became %d", len(in), len(got))
		}
	})
}
