package house

import (
	"slices"
	"strings"
	"testing"
)

// layers is the direction of imports: a package may import packages of lower
// layers only. Folders of one layer never meet, below one folder they may.
var layers = [][]string{
	{"internal"},
	{"config"},
	{"resource"},
	{"container", "devices", "kmod", "mounts", "network", "selinux", "sysctl", "install"},
	{"inspection"},
	{"cmd/internal/cli", "hooks", "udev"},
	{"cmd/isulad-tools"},
}

// layer returns the folder of layers that pkg lies in and its height, or -1.
func layer(pkg string) (folder string, height int) {
	path := strings.TrimPrefix(pkg, module+"/")
	for height, folders := range layers {
		for _, folder := range folders {
			if path == folder || strings.HasPrefix(path, folder+"/") {
				return folder, height
			}
		}
	}
	return path, -1
}

// mayImport is the rule, for packages of this module.
func mayImport(from, to string) bool {
	fromFolder, fromHeight := layer(from)
	toFolder, toHeight := layer(to)
	return fromFolder == toFolder || toHeight >= 0 && toHeight < fromHeight
}

func TestImportsOnlyGoDown(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, line := range lines(output(t, top(t), "go", "list", tags, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")) {
		imports := strings.Fields(line)
		pkg := imports[0]
		folder, _, _ := strings.Cut(strings.TrimPrefix(pkg, module+"/"), "/")
		if !slices.Contains(shipped, folder) {
			continue // integration and hack may import anything
		}
		seen++
		if _, height := layer(pkg); height < 0 {
			t.Errorf("%s has no layer: give it one in this test", pkg)
			continue
		}
		for _, to := range imports[1:] {
			if strings.HasPrefix(to, module+"/") && !mayImport(pkg, to) {
				t.Errorf("%s imports %s", pkg, to)
			}
		}
	}
	if seen < 5 {
		t.Errorf("looked at %d packages only", seen)
	}
}

func TestTheRuleOfImports(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"cmd/isulad-tools", "cmd/internal/cli", true},
		{"cmd/isulad-tools", "internal/logging", true},
		{"cmd/internal/cli", "devices", true},
		{"cmd/internal/cli", "hooks", false},
		{"hooks", "kmod", true},
		{"hooks", "cmd/internal/cli", false},
		{"devices", "mounts", false},
		{"devices", "devices/sysfs", true},
		{"devices", "resource", true},
		{"resource", "devices", false},
		{"config", "resource", false},
		{"resource", "config", true},
		{"internal/undo", "config", false},
		{"internal/undo", "internal/logging", true},
		{"hooks", "integration/sandbox", false},
		{"internal/undo", "hack/sandbox", false},
	} {
		t.Run(c.from, func(t *testing.T) {
			if got := mayImport(module+"/"+c.from, module+"/"+c.to); got != c.want {
				t.Errorf("%s -> %s: %v", c.from, c.to, got)
			}
		})
	}
}

// unwanted must not be linked, by whatever way: start-up time, size, or a
// second way to do what one package here does. (os/user comes with godbus/dbus.)
var unwanted = []string{
	"testing", "go/ast", "net/http", "crypto/tls", "runtime/cgo", "html/template",
	"encoding/gob", "net/rpc", "expvar", "runtime/pprof", "archive/tar", "database/sql",
}

func TestTheExecutableLinksNothingUnwanted(t *testing.T) {
	t.Parallel()
	deps := lines(output(t, top(t), "env", "CGO_ENABLED=0", "go", "list", tags, "-deps", "./cmd/isulad-tools"))
	if !slices.Contains(deps, module+"/hooks") {
		t.Errorf("the hooks are not among its %d packages", len(deps))
	}
	for _, pkg := range deps {
		folder, ours := strings.CutPrefix(pkg, module+"/")
		if top, _, _ := strings.Cut(folder, "/"); ours && !slices.Contains(shipped, top) {
			t.Errorf("links %s, whose folder is not among those that the rules are for: add it to shipped", pkg)
		}
	}
	for _, pkg := range unwanted {
		if slices.Contains(deps, pkg) {
			t.Errorf("links %s", pkg)
		}
	}
}
