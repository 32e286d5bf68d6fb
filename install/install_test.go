package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// build compiles a stand-in of the executable: the main package's path is ours,
// version tells two of them apart, and given an argument it sleeps.
var build = func() func(t *testing.T, version string) string {
	var mu sync.Mutex
	dir, done := "", map[string]string{}
	return func(t *testing.T, version string) string {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if dir == "" {
			var err error
			if dir, err = os.MkdirTemp("", "install-test"); err != nil {
				t.Fatal(err)
			}
			cleanups = append(cleanups, func() { os.RemoveAll(dir) })
			put(t, dir, "go.mod", "module isula.org/isulad-tools\ngo 1.26\n", 0o644)
			put(t, dir, "cmd/isulad-tools/main.go", `package main
import ("os"; "time")
var version string
func main() { println(version); if len(os.Args) > 1 { time.Sleep(time.Minute) } }
`, 0o644)
		}
		if done[version] == "" {
			out := filepath.Join(dir, version)
			c := exec.Command("go", "build", "-ldflags", "-X main.version="+version, "-o", out, "./cmd/isulad-tools")
			c.Dir, c.Env = dir, append(os.Environ(), "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0", "GOOS=", "GOARCH=")
			if said, err := c.CombinedOutput(); err != nil {
				t.Fatalf("build a stand-in: %v\n%s", err, said)
			}
			done[version] = out
		}
		return done[version]
	}
}()

var cleanups []func()

func TestMain(m *testing.M) {
	status := m.Run()
	for _, f := range cleanups {
		f()
	}
	os.Exit(status)
}

func put(t *testing.T, root, path, content string, mode fs.FileMode) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := errors.Join(
		os.MkdirAll(filepath.Dir(path), 0o755),
		os.WriteFile(path, []byte(content), mode),
		os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func do(t *testing.T, root, graph, binary string) (string, error) {
	t.Helper()
	dest, err := openTree(root, true)
	if err != nil {
		t.Fatal(err)
	}
	defer dest.close()
	var out bytes.Buffer
	if binary != "" {
		err = install(dest, graph, binary, &out)
	} else {
		err = uninstall(dest, graph, &out)
	}
	return out.String(), err
}

func mustInstall(t *testing.T, root, graph, binary string) string {
	t.Helper()
	out, err := do(t, root, graph, binary)
	if err != nil {
		t.Fatalf("install: %v\n%s", err, out)
	}
	return out
}

func mustUninstall(t *testing.T, root string) string {
	t.Helper()
	out, err := do(t, root, "", "")
	if err != nil {
		t.Fatalf("uninstall: %v\n%s", err, out)
	}
	return out
}

// files is what a person would call the same tree: every file's kind, mode and
// content or target. With identity also inode and times, so that a file replaced
// by its equal shows.
func files(t *testing.T, root string, identity bool) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			content, err = os.ReadFile(path)
		} else if info.Mode()&fs.ModeSymlink != 0 {
			var target string
			target, err = os.Readlink(path)
			content = []byte(target)
		}
		if len(content) > 200 {
			content = fmt.Appendf(nil, "%d bytes ending in %x", len(content), content[len(content)-20:])
		}
		what := fmt.Sprintf("%v %q", info.Mode(), content)
		if identity {
			st := info.Sys().(*syscall.Stat_t)
			what += fmt.Sprint(" ", st.Ino, st.Nlink, st.Mtim, st.Ctim)
		}
		all[strings.TrimPrefix(path, root)] = what
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var six = []string{
	"/usr/local/bin/isulad-tools", "/usr/local/bin/syscontainer-tools",
	"/var/lib/isulad/hooks/isulad-hooks", "/var/lib/isulad/hooks/syscontainer-hooks",
	"/lib/udev/isulad-tools_wrapper", "/lib/udev/syscontainer-tools_wrapper",
}

var two = []string{"/etc/isulad-tools/hookspec.json", "/etc/syscontainer-tools/hookspec.json"}

// and those of hooks.d
var others = []string{"/usr/share/containers/oci/hooks.d/isulad-tools-prestart.json", "/usr/share/containers/oci/hooks.d/isulad-tools-poststop.json"}

const all = 11

func TestInstallPutsOneExecutableUnderSixNamesTwoHookSpecsAndTheLogsRule(t *testing.T) {
	root, binary := t.TempDir(), build(t, "v1")
	old := syscall.Umask(0o077) // must not matter; the process's, so not in parallel
	out := mustInstall(t, root, "", binary)
	syscall.Umask(old)
	for _, path := range six {
		info, err := os.Lstat(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o755 || read(t, root, path) != read(t, binary) {
			t.Errorf("%s: %v, or not the executable", path, info.Mode())
		}
	}
	for i, path := range two {
		info, err := os.Lstat(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		dir, err := os.Lstat(filepath.Dir(filepath.Join(root, path)))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o640 || dir.Mode().Perm() != 0o750 {
			t.Errorf("%s: %v in %v", path, info.Mode(), dir.Mode())
		}
		hook := []string{"isulad-hooks", "syscontainer-hooks"}[i]
		want := fmt.Sprintf(`{"prestart":[{"path":"/var/lib/isulad/hooks/%[1]s","args":["%[1]s","--state","prestart"],"env":[]}],
 "poststart":[{"path":"/var/lib/isulad/hooks/%[1]s","args":["%[1]s","--state","poststart"],"env":[]}],
 "poststop":[{"path":"/var/lib/isulad/hooks/%[1]s","args":["%[1]s","--state","poststop"],"env":[]}]}
`, hook)
		if diff := cmp.Diff(want, read(t, root, path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		if !json.Valid([]byte(read(t, root, path))) {
			t.Errorf("%s is not JSON", path)
		}
	}
	if got := len(files(t, root, false)); got != all {
		t.Errorf("%d files, want 11: %v", got, files(t, root, false))
	}
	if lines := strings.Count(out, "\n"); lines != all || strings.Count(out, "installed ") != all {
		t.Errorf("not one line a file:\n%s", out)
	}
}

func TestASecondInstallChangesNothing(t *testing.T) {
	t.Parallel()
	root, binary := t.TempDir(), build(t, "v1")
	mustInstall(t, root, "", binary)
	before := files(t, root, true)
	out := mustInstall(t, root, "", binary)
	if diff := cmp.Diff(before, files(t, root, true)); diff != "" {
		t.Errorf("changed (-before +after):\n%s", diff)
	}
	if strings.Count(out, "unchanged ") != all {
		t.Errorf("said:\n%s", out)
	}
}

func TestAnUpgradeReplacesOurOwnWithoutABackup(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mustInstall(t, root, "", build(t, "v1"))
	out := mustInstall(t, root, "", build(t, "v2"))
	if strings.Count(out, "updated ") != 6 || strings.Count(out, "unchanged ") != 5 {
		t.Errorf("said:\n%s", out)
	}
	for _, path := range six {
		if read(t, root, path) != read(t, build(t, "v2")) {
			t.Errorf("%s is not the new one", path)
		}
	}
	if got := len(files(t, root, false)); got != all {
		t.Errorf("%d files, want 11", got)
	}
}

func TestARunningExecutableIsReplaced(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mustInstall(t, root, "", build(t, "v1"))
	running := exec.Command(filepath.Join(root, six[0]), "sleep")
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { running.Process.Kill(); running.Wait() })
	mustInstall(t, root, "", build(t, "v2"))
	if err := running.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the running one did not survive: %v", err)
	}
	if read(t, root, six[0]) != read(t, build(t, "v2")) {
		t.Error("not replaced")
	}
}

// What lies in the eleven places before is chosen at random; after install,
// install, uninstall every one of them is as it was.
func TestUninstallBringsBackWhatWasThere(t *testing.T) {
	t.Parallel()
	binary := build(t, "v1")
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		root := t.TempDir()
		for i, path := range slices.Concat(six, two, others, []string{rotation}) {
			switch random.IntN(5) {
			case 0: // nothing
			case 1:
				put(t, root, path, fmt.Sprint("old tool ", i), fs.FileMode(0o400+random.IntN(0o400)))
			case 2:
				put(t, root, path, "", 0o600)
			case 3:
				put(t, root, path+".elsewhere", "old tool", 0o755)
				link(t, filepath.Base(path)+".elsewhere", filepath.Join(root, path))
			case 4:
				put(t, root, filepath.Dir(path)+"/README", "keep", 0o644)
				link(t, "/nowhere", filepath.Join(root, path))
			}
		}
		put(t, root, "/var/lib/isulad/engines/lcr/0123/device_hook.json", "{}", 0o600)
		put(t, root, "/run/isulad-tools/netns/0123", "", 0o600)
		before := files(t, root, false)
		mustInstall(t, root, "", binary)
		installed := files(t, root, true)
		mustInstall(t, root, "", binary)
		if diff := cmp.Diff(installed, files(t, root, true)); diff != "" {
			t.Fatalf("round %d: a second install changed (-before +after):\n%s", round, diff)
		}
		out := mustUninstall(t, root)
		if diff := cmp.Diff(before, files(t, root, false)); diff != "" {
			t.Fatalf("round %d: (-before +after):\n%s\n%s", round, diff, out)
		}
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path)); err != nil {
		t.Fatal(err)
	}
}

func TestUninstallFromAnEmptyRootLeavesNoFolderOfOurs(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mustInstall(t, root, "", build(t, "v1"))
	mustUninstall(t, root)
	for _, dir := range []string{"/etc/isulad-tools", "/etc/syscontainer-tools", "/var/lib/isulad/hooks"} {
		if _, err := os.Lstat(filepath.Join(root, dir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	if out := mustUninstall(t, root); out != "" {
		t.Errorf("a second uninstall said:\n%s", out)
	}
}

func TestBackupsAreNeverOverwritten(t *testing.T) {
	t.Parallel()
	root, binary := t.TempDir(), build(t, "v1")
	path := filepath.Join(root, six[0])
	put(t, root, six[0], "v0.9", 0o700)
	mustInstall(t, root, "", binary)
	if err := os.Remove(path); err != nil { // as a package manager does
		t.Fatal(err)
	}
	put(t, root, six[0], "v0.9.1", 0o700)
	mustInstall(t, root, "", binary)
	if got := read(t, path+".isulad-tools-backup"); got != "v0.9" {
		t.Errorf("the original became %q", got)
	}
	mustUninstall(t, root)
	if got := read(t, path); got != "v0.9.1" {
		t.Errorf("brought back %q, not the last one", got)
	}
	if got := read(t, path+".isulad-tools-backup"); got != "v0.9" {
		t.Errorf("after uninstall the original is %q", got)
	}
}

func TestAKilledInstallIsFinishedOrUndone(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]string{"install": build(t, "v1"), "uninstall": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			path := filepath.Join(root, six[0])
			put(t, root, six[0], "v0.9", 0o700)
			// Killed after the backup and half a temporary file.
			if err := os.Link(path, path+".isulad-tools-backup"); err != nil {
				t.Fatal(err)
			}
			put(t, root, temporary(six[0]), "half", 0o600)
			if out, err := do(t, root, "", next); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			mustUninstall(t, root)
			if diff := cmp.Diff(map[string]string{six[0]: `-rwx------ "v0.9"`}, files(t, root, false)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAFileThatCannotBeWrittenLeavesTheOldOne(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, root, six[0], "v0.9", 0o700)
	put(t, root, temporary(six[0])+"/in-the-way", "", 0o600)
	if out, err := do(t, root, "", build(t, "v1")); err == nil {
		t.Fatalf("no error:\n%s", out)
	}
	if got := read(t, root, six[0]); got != "v0.9" {
		t.Errorf("the old file became %q", got)
	}
}

func TestSymlinksOutOfDestdirAreRefused(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"/usr", "/usr/local/bin", "/var/lib/isulad", "/var/lib/isulad/hooks", "/lib", "/etc", "/etc/isulad-tools"} {
		for _, relative := range []bool{false, true} {
			root, outside := t.TempDir(), t.TempDir()
			target := outside
			if relative {
				var err error
				if target, err = filepath.Rel(filepath.Dir(filepath.Join(root, dir)), outside); err != nil {
					t.Fatal(err)
				}
			}
			link(t, target, filepath.Join(root, dir))
			if out, err := do(t, root, "", build(t, "v1")); err == nil {
				t.Errorf("%s -> %s: no error:\n%s", dir, target, out)
			}
			if got := files(t, outside, false); len(got) != 0 {
				t.Errorf("%s -> %s: wrote %v", dir, target, got)
			}
		}
	}
}

func TestAMergedUsrIsFollowedInsideDestdir(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "usr"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "usr/lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, "usr/lib", filepath.Join(root, "lib"))
	mustInstall(t, root, "", build(t, "v1"))
	if read(t, root, "usr/lib/udev/isulad-tools_wrapper") != read(t, build(t, "v1")) {
		t.Error("not installed below usr/lib")
	}
}

func TestAForeignSourceIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, binary := range []string{self, "/dev/null", "/nowhere"} {
		root := t.TempDir()
		if _, err := do(t, root, "", binary); err == nil {
			t.Errorf("installed %s", binary)
		}
		if entries, _ := os.ReadDir(root); len(entries) != 0 {
			t.Errorf("%s: made %v", binary, entries)
		}
	}
}
