package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// hostile is a name that acts on a terminal, in every way that there is.
const hostile = "/\x1b]0;owned\a\x1b[2J\x1b[31mAll done.\u009b0m\x7f\r\b\u202eevil\U000e0001"

// Names are anybody's choice. What a terminal could act on never reaches it,
// whoever says it: we, the library for flags, or a list of what is recorded.
func TestNothingThatIsSaidActsOnATerminal(t *testing.T) {
	if testing.Short() {
		// Under user-mode emulation the kernel cannot execute this binary.
		t.Skip("-short: the program is not executed")
	}
	t.Parallel()
	bin, dir := programs(t), t.TempDir()
	put := func(name string, content any) {
		t.Helper()
		data, err := json.Marshal(content)
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("runc/gold/state.json", map[string]any{"id": "gold", "config": map[string]any{"labels": []string{"bundle=" + dir + "/bundle"}}})
	put("bundle/device_hook.json", map[string]any{"bindToAdd": []string{hostile + ":/x:rw"}})
	put("runc/bad/state.json", map[string]any{"id": "bad", "config": map[string]any{"labels": []string{"bundle=" + dir + "/bad"}}})
	put("bad/device_hook.json", map[string]any{"bindToAdd": []string{hostile}})
	tool := []string{"isulad-tools", "--syslog-service", "unix://" + dir + "/none", "--engine", "runc:" + dir + "/runc"}
	for name, args := range map[string][]string{
		"an unknown subcommand":      append(slices.Clone(tool), hostile),
		"an unknown flag":            append(slices.Clone(tool), "-"+hostile),
		"an unknown flag of a hook":  {"isulad-hooks", "-" + hostile},
		"an unknown stage":           {"isulad-hooks", "--log", dir + "/hook.log", "--state", hostile},
		"an argument of the helper":  {"isulad-tools_wrapper", "add", "x", "sda1", hostile, "sda"},
		"a container's name":         append(slices.Clone(tool), "list-path", hostile),
		"a recorded path":            append(slices.Clone(tool), "list-path", "gold"),
		"one, for people":            append(slices.Clone(tool), "list-path", "--pretty", "gold"),
		"a record that is none":      append(slices.Clone(tool), "list-path", "bad"),
		"the log on standard output": append(slices.Clone(tool), "--log", ".", "list-path", "bad"),
		"the same as JSON":           append(slices.Clone(tool), "--log", ".", "--log-format", "json", "list-path", "bad"),
		"the log's file":             append(slices.Clone(tool), "--log", dir+hostile, "list-path", "gold"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := &exec.Cmd{Path: filepath.Join(bin, args[0]), Args: args, Dir: dir}
			cmd.Env = []string{"PATH=/usr/bin:/bin", asProgram + "=1", "GOCOVERDIR=" + os.Getenv("GOCOVERDIR"), "GORACE=atexit_sleep_ms=0"}
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			_ = cmd.Run()
			text := said.String()
			if !strings.Contains(text, "evil") {
				t.Errorf("got %q, want that it says the name", text)
			}
			if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }) {
				t.Errorf("got %q, want nothing that acts", text)
			}
		})
	}
	t.Run("a list stays what it is", func(t *testing.T) {
		t.Parallel()
		cmd := &exec.Cmd{Path: filepath.Join(bin, "isulad-tools"), Args: append(slices.Clone(tool), "list-path", "gold"), Env: []string{asProgram + "=1", "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}}
		out, err := cmd.Output()
		var list []string
		if err == nil {
			err = json.Unmarshal(out, &list)
		}
		if want := []string{hostile + ":/x:rw"}; err != nil || !slices.Equal(list, want) {
			t.Errorf("got %q, %v, want %q", list, err, want)
		}
	})
}
