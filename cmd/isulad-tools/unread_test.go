package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever started us may be gone by the time that something is said: a program
// that ends there leaves half of its work.
func TestWithoutAReaderEverythingIsDoneAllTheSame(t *testing.T) {
	if testing.Short() {
		// Under user-mode emulation the kernel cannot execute this binary.
		t.Skip("-short: the program is not executed")
	}
	t.Parallel()
	bin := programs(t)
	for name, c := range map[string]struct {
		args  []string
		stdin string
		want  int
	}{
		"a hook that fails":                {[]string{"isulad-hooks", "--state", "prestart"}, "garbage", 1},
		"a hook that warns and fails":      {[]string{"isulad-hooks", "--state", "prestart", "--log", "/no/such/log"}, "garbage", 1},
		"a hook with an unknown flag":      {[]string{"isulad-hooks", "--bogus"}, "", 2},
		"a hook's help":                    {[]string{"isulad-hooks", "--help"}, "", 0},
		"a hook as a subcommand":           {[]string{"isulad-tools", "prestart"}, "garbage", 1},
		"the udev helper":                  {[]string{"isulad-tools_wrapper", "bogus"}, "", 1},
		"a command that fails":             {[]string{"isulad-tools", "--syslog-service", "unix:///no/such/socket", "--log", "", "frobnicate"}, "", 1},
		"a command that has been told all": {[]string{"isulad-tools", "--help"}, "", 0},
		"a version":                        {[]string{"isulad-tools", "--version"}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			defer w.Close()
			cmd := &exec.Cmd{Path: filepath.Join(bin, c.args[0]), Args: c.args, Dir: t.TempDir(), Stdin: strings.NewReader(c.stdin), Stdout: w, Stderr: w}
			cmd.Env = []string{"PATH=/usr/bin:/bin", asProgram + "=1", "GOCOVERDIR=" + os.Getenv("GOCOVERDIR"), "GORACE=atexit_sleep_ms=0"}
			_ = cmd.Run() // the state says it all
			if got := cmd.ProcessState.ExitCode(); got != c.want {
				t.Errorf("got %s, want exit code %d", cmd.ProcessState, c.want)
			}
		})
	}
}
