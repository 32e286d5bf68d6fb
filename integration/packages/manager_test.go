package packages

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// manager is dpkg or rpm, at work on the sandbox's own root.
type manager struct {
	kind               string
	install, remove    []string // the command lines, but for the package
	list               []string // the paths of an installed package
	version, release   string   // of v0.9, as it counts
	configAfterRemoval string   // what a hook spec that was edited is then called
}

func managers(t *testing.T) []manager {
	t.Helper()
	// rpm's root is that of the sandbox, under another name: what --root changes is
	// to be seen. What is mounted below it (/proc, /dev) is wanted there, too.
	root := "/mnt/root"
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("/", root, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	// Else it would take /dev with it when it goes.
	if err := unix.Mount("", root, "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	rpm := []string{"rpm", "--root", root, "--dbpath", "/var/lib/rpm-of-the-test"}
	with := func(args ...string) []string { return append(append([]string{}, rpm...), args...) }
	dpkg := []string{"dpkg", "--force-unsafe-io", "--no-triggers"}
	return []manager{
		{
			"deb",
			append(append([]string{}, dpkg...), "-i"), append(append([]string{}, dpkg...), "-r"),
			[]string{"dpkg", "-L"},
			"0.9-37", "", "/etc/syscontainer-tools/hookspec.json",
		},
		{
			"rpm",
			with("-U", "--nosignature"), with("-e"), with("-ql"),
			"v0.9", "37", "/etc/syscontainer-tools/hookspec.json.rpmsave",
		},
	}
}

func (m manager) do(t *testing.T, verb []string, what string) string {
	t.Helper()
	return run(t, verb[0], append(append([]string{}, verb[1:]...), what)...)
}

// knows tells whether the manager has a package of this name installed.
func (m manager) knows(name string) bool {
	out, err := exec.Command(m.list[0], append(append([]string{}, m.list[1:]...), name)...).Output()
	return err == nil && strings.Contains(string(out), "/usr/local/bin/")
}

// owns tells whether a path is in the package's list, and there.
func (m manager) owns(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	return err == nil && slices.Contains(strings.Split(m.do(t, m.list, "isulad-tools"), "\n"), path)
}

// purge has dpkg forget the package, which the machine may have installed, too.
func purge(t *testing.T) {
	t.Helper()
	run(t, "dpkg", "--force-unsafe-io", "--no-triggers", "--purge", "isulad-tools")
}

// old makes v0.9's package.
func (m manager) old(t *testing.T) string {
	t.Helper()
	top, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "v0.9."+m.kind)
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile="+filepath.Join(top, "hack/tools.mod"), "nfpm",
		"package", "--packager", m.kind, "--target", out)
	cmd.Dir = filepath.Join(top, "integration/packages/testdata/v0.9")
	cmd.Env = append(os.Environ(), "ARCH="+arch, "VERSION="+m.version, "RELEASE="+m.release)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make v0.9's package: %v\n%s", err, said)
	}
	return out
}

// put writes a file and its folders.
func put(t *testing.T, path, content string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o750)
	if err == nil {
		err = os.WriteFile(path, []byte(content), 0o640)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// holds wants a file to have this content.
func holds(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s: got %q, %v, want %q", path, got, err, want)
	}
}

// missing wants that there is nothing at a path.
func missing(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s is there: %v", path, err)
	}
}

// ours wants our executable at a path, with the mode and the owner that iSulad asks for.
func ours(t *testing.T, path string) {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	if got, want := fmt.Sprintf("%o %d:%d", s.Mode, s.Uid, s.Gid), "100755 0:0"; got != want {
		t.Errorf("%s: got %s, want %s", path, got, want)
	}
	cmd := exec.Command(path, "--help")
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(path, "wrapper") || strings.Contains(string(out), "v0.9\n") || len(out) == 0 {
		t.Errorf("%s --help: %v, got %.200q, want our help", path, err, out)
	}
}

// isOld wants v0.9's program at a path.
func isOld(t *testing.T, path string) {
	t.Helper()
	holds(t, path, "#!/bin/sh\necho v0.9\n")
}
