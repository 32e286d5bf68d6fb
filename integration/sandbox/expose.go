package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Packages is the folder of the packages that are unpacked for tests only, see
// hack/packages.
func Packages() string {
	if dir := os.Getenv("ISULAD_PACKAGE_CACHE"); dir != "" {
		return dir
	}
	return filepath.Join(os.Getenv("HOME"), ".cache/isulad-tools-packages")
}

// needed are the folders that tests work with, wherever they lie: the source
// tree, the caches of packages and of the VM, and Go's own where there is Go.
func needed() []string {
	all := []string{filepath.Join(os.Getenv("HOME"), ".cache"), Packages(), os.Getenv("ISULAD_VM_CACHE")}
	if dir, err := Module(); err == nil {
		all = append(all, dir)
	}
	// Without Go, as in the VM, or without a home, there is no such folder to show.
	out, _ := exec.Command("go", "env", "GOROOT", "GOMODCACHE", "GOCACHE").Output()
	return append(all, strings.Split(strings.TrimSpace(string(out)), "\n")...)
}

// exposeNeeded gives the needed folders that the sandbox would hide a layer each:
// in /tmp, say, or in a graph.
func (w *world) exposeNeeded() error {
	for _, p := range needed() {
		real, err := filepath.EvalSymlinks(p)
		if !filepath.IsAbs(p) || err != nil {
			continue // not there
		}
		for _, p := range []string{real, p} {
			target := filepath.Join(w.root, p)
			if _, err := os.Stat(target); err == nil {
				continue
			}
			if err := w.layer(real, target); err != nil {
				return err
			}
		}
	}
	return nil
}

// exposeOutputs binds the directories that go test wants results written to
// (profiles, coverage) into the sandbox, where they would be lost otherwise.
func (w *world) exposeOutputs() error {
	paths := []string{os.Getenv("GOCOVERDIR")}
	for _, a := range os.Args[1:] {
		if name, value, ok := strings.Cut(a, "="); ok && strings.HasPrefix(name, "-test.") && name != "-test.testlogfile" {
			paths = append(paths, value)
		}
	}
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			continue
		}
		if info, err := os.Stat(p); err != nil || !info.IsDir() {
			p = filepath.Dir(p)
		}
		p, err := filepath.EvalSymlinks(p)
		if err != nil || p == "/" {
			continue
		}
		target := filepath.Join(w.root, p)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := mount(p, target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// exposeSelf makes the test binary visible in the sandbox unless it is.
func (w *world) exposeSelf() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	target := filepath.Join(w.root, exe)
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(target, nil, 0o755); err != nil {
		return err
	}
	return mount(exe, target, "", unix.MS_BIND, "")
}

// exposeBinary copies the binary under test to the path it is known by, unless
// it is visible there: a copy, so that no mount leads to the host's file.
func (w *world) exposeBinary() error {
	bin := os.Getenv(envBinary)
	if bin == "" || os.Getenv(envNoBin) != "" {
		return nil
	}
	path := filepath.Join(w.root, bin)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return copyFile(bin, path, 0o755)
}
