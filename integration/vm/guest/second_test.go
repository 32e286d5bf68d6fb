//go:build vmguest

package guest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/internal/process"
	"isula.org/isulad-tools/kmod"
)

// The tests called TestSecondBoot run in a second boot of the machine, which has
// of the first only what lies in the shared folder: the run directory as it was,
// and module files, which the host compressed.
const (
	keptRun   = share + "/run"
	keptFiles = share + "/modules"
)

// compressed are modules that the second boot has compressed; the rest is plain.
var compressed = map[string]string{"ip_vs": "xz", "ip_vs_wrr": "zst", "ifb": "zst"}

// moduleFile is the file of a module.
func moduleFile(name string) (string, error) {
	out, err := exec.Command("modinfo", "-n", name).Output()
	return strings.TrimSpace(string(out)), err
}

// leaveForSecondBoot copies what the second boot wants. A container, by the name
// of this process, asks for a module.
func leaveForSecondBoot() error {
	_ = exec.Command("rmmod", "dummy").Run() // it may not be there
	init, err := process.ByPID(os.Getpid())
	if err != nil {
		return err
	}
	by := kmod.Requester{ID: "first", Init: init}
	if _, err := (kmod.Loader{}).Load(context.Background(), by, []string{"dummy"}); err != nil {
		return err
	}
	if err := (kmod.Loader{}).Record(by, []string{"dummy"}); err != nil {
		return err
	}
	if err := leaveRebooted(); err != nil {
		return err
	}
	if err := os.CopyFS(keptRun, os.DirFS("/run/isulad-tools/modules")); err != nil {
		return err
	}
	if err := os.MkdirAll(keptFiles, 0o755); err != nil {
		return err
	}
	for name := range compressed {
		file, err := moduleFile(name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(keptFiles, name+".ko"), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func depmod(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("depmod", "-a").CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v: %s", err, out)
	}
}

func TestSecondBootKnowsNothingOfTheFirst(t *testing.T) {
	if _, err := os.Stat("/run/isulad-tools"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("/run/isulad-tools after a boot: %v", err)
	}
	if out := works(t, "list-module"); out != "" {
		t.Errorf("listed: %s", out)
	}
	// A host whose /run outlives a boot.
	if data, err := os.ReadFile(keptRun + "/loaded"); err != nil || !strings.Contains(string(data), `"dummy"`) {
		t.Fatalf("of the first boot: %s, %v", data, err)
	}
	if err := os.MkdirAll("/run/isulad-tools", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS("/run/isulad-tools/modules", os.DirFS(keptRun)); err != nil {
		t.Fatal(err)
	}
	load(t, "dummy")
	if out := works(t, "list-module"); out != "" {
		t.Errorf("listed: %s", out)
	}
	newDriven(t, "first", "dummy").starts(t)
	if s := listed(t)["dummy"]; s.Origin != "found" || len(s.RequestedBy) != 1 {
		t.Errorf("dummy: %+v", s)
	}
}

func TestSecondBootLoadsCompressedModules(t *testing.T) {
	for name, suffix := range compressed {
		plain, err := moduleFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(keptFiles, name+".ko."+suffix))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(plain+"."+suffix, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(plain); err != nil {
			t.Fatal(err)
		}
	}
	depmod(t)
	without(t, append([]string{"ifb"}, ipvs...)...)
	out := works(t, "check-module", "ip_vs_wrr", "ifb")
	for _, want := range []string{"ip_vs.ko.xz\n", "ip_vs_wrr.ko.zst\n", "nf_conntrack.ko\n", "ifb.ko.zst\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("check-module does not mention %s", want)
		}
	}
	t.Logf("check-module ip_vs_wrr ifb:\n%s", out)
	requireUnloaded(t, "ip_vs", "ifb")
	c := newContainer(t, "ip_vs_wrr,rtnl-link-ifb", nil)
	c.start()
	requireLoaded(t, "ip_vs_wrr", "ip_vs", "ifb", "nf_conntrack")
	if s := listed(t)["nf_conntrack"]; s.Origin != "loaded" || s.LoadedFor != c.id {
		t.Errorf("nf_conntrack: %+v", s)
	}
	policy(t, `{"default":"allow","deny":["ip_vs"]}`)
	newDriven(t, "denied", "ip-vs").refused(t, "denied")
}

func TestSecondBootNamesAWrongVersion(t *testing.T) {
	without(t, "dummy")
	file, err := moduleFile("dummy")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// The release itself does not count where symbols have versions, as here.
	magic := bytes.Index(data, []byte("vermagic=6."))
	if magic < 0 {
		t.Fatal("no vermagic")
	}
	i := magic + bytes.Index(data[magic:], []byte(" mod_unload "))
	// A changed file has a bad signature, which counts more; so take that away.
	other := bytes.Clone(data[:bytes.LastIndex(data, []byte("~Module signature appended~\n"))])
	other[i+1] = 'X'
	if err := os.WriteFile(file, other, 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(file, data, 0o644)
	newDriven(t, "version", "dummy").refused(t, `"dummy"`, "wrong version")
	requireUnloaded(t, "dummy")
}

// This comes last: the kernel cannot be made to trust again.
func TestSecondBootNamesABadSignature(t *testing.T) {
	without(t, "dummy")
	file, err := moduleFile("dummy")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/sys/module/module/parameters/sig_enforce", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	d := newDriven(t, "signature", "dummy")
	for name, content := range map[string][]byte{
		"damaged": append(bytes.Clone(data[:4096]), append([]byte{data[4096] ^ 1}, data[4097:]...)...),
		"none":    data[:bytes.LastIndex(data, []byte("~Module signature appended~\n"))],
	} {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			d.refused(t, `"dummy"`, "bad signature")
			requireUnloaded(t, "dummy")
		})
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	d.starts(t)
	if list, err := (kmod.Loader{}).List(); err != nil || statusOf(t, list, "dummy").Origin != "loaded" {
		t.Errorf("%+v, %v", list, err)
	}
}
