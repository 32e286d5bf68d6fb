package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isula.org/isulad-tools/kmod"
)

// runcContainer makes the state of a stopped container of runc below root.
func runcContainer(t *testing.T, root, id string, env ...string) (bundle string) {
	t.Helper()
	bundle = t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(root, id, "state.json"): fmt.Sprintf(`{"id":%q,"init_process_pid":0,"config":{"labels":["bundle=%s"]}}`, id, bundle),
		filepath.Join(bundle, "config.json"):  fmt.Sprintf(`{"process":{"env":["%s"]}}`, strings.Join(env, `","`)),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return bundle
}

func TestModuleCommandsRefuseBadInput(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	bundle := runcContainer(t, root, "c1", "KERNEL_MODULES=hmac")
	for _, c := range []struct{ args, want string }{
		{"add-module", `"add-module" requires a minimum of 2 args`},
		{"add-module c1", `"add-module" requires a minimum of 2 args`},
		{"remove-module --unload c1", `"remove-module" requires a minimum of 2 args`},
		{"add-module c1 a/b", "Failed to add module: [module-hook] Failed to modprobe modules by module name is incorrect:a/b"},
		{"add-module c1 ok -- -r", "Don't put"},
		{"add-module ../c1 x", "Invalid container name (../c1)"},
		{"add-module c2 x", "no container c2"},
		{"add-module c1 no_such_module_anywhere", "Failed to add module: no_such_module_anywhere: "},
		{"remove-module c1 x", "Failed to remove module: kernel module x is not added by isulad-tools, can not remove it, please check input parameter"},
		{"remove-module c1 hmac", "kernel module hmac is named by KERNEL_MODULES"},
		{"list-module --format xml", "unknown format xml: want table or json"},
		{"list-module c2", "no container c2"},
		{"list-module c1 c2", "Don't put container-id in the middle of options"},
		{"check-module", `"check-module" requires a minimum of 1 args`},
		{"check-module ../x", "module name is incorrect:../x"},
		{"check-module --format xml x", "unknown format xml"},
		{"check-module no_such_module_anywhere", "a container that asks for no_such_module_anywhere does not start"},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, _, stderr := run(t, root, strings.Fields(c.args)...)
			if code != 1 || !strings.Contains(stderr, c.want) && c.want != "Don't put" {
				t.Errorf("%s: exit %d, %q, want %q", c.args, code, stderr, c.want)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(bundle, "device_hook.json")); err == nil {
		t.Error("a refused command wrote device_hook.json")
	}
}

func TestModulesOfAStoppedContainerAreOnlyRecorded(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	bundle := runcContainer(t, root, "c1", "A=b")
	file := filepath.Join(bundle, "device_hook.json")
	if err := os.WriteFile(file, []byte(`{"later":1,"bindToAdd":["/a:/b:ro"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, stdout, file string }{
		// Every kernel that runs these tests has them.
		{"add-module c1 nf-conntrack loop", "Add module (nf-conntrack) to container(c1) done.\nAdd module (loop) to container(c1) done.\n", `{"bindToAdd":["/a:/b:ro"],"kernelModules":["nf-conntrack","loop"],"later":1}`},
		{"add-module c1 nf_conntrack", "Add module (nf_conntrack) to container(c1) done.\n", `{"bindToAdd":["/a:/b:ro"],"kernelModules":["nf-conntrack","loop"],"later":1}`},
		{"remove-module c1 nf_conntrack", "Remove module (nf_conntrack) from container(c1) done.\n", `{"bindToAdd":["/a:/b:ro"],"kernelModules":["loop"],"later":1}`},
		{"remove-module c1 loop", "Remove module (loop) from container(c1) done.\n", `{"bindToAdd":["/a:/b:ro"],"later":1}`},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, stdout, stderr := run(t, root, strings.Fields(c.args)...)
			if code != 0 || stdout != c.stdout {
				t.Errorf("%s: exit %d, %q, %q", c.args, code, stdout, stderr)
			}
			if got, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(got)) != c.file {
				t.Errorf("%s: %s, %v", c.args, got, err)
			}
		})
	}
}

func TestTheTableOfModules(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	id := strings.Repeat("0123456789abcdef", 4)
	var out bytes.Buffer
	err := printModules(&out, []kmod.Status{
		{
			Module: "ip_vs", State: "live", Size: 188416, UseCount: 2, UsedBy: []string{"ip_vs_rr", "ip_vs_wrr"},
			Origin: "loaded", LoadedFor: id, LoadedAt: &at, RequestedBy: []kmod.RequestRef{{ID: id, As: "ip-vs", Running: true}, {ID: "x", Name: "web", As: "ipvs0"}},
		},
		{Module: "loop", State: "built in", RequestedBy: []kmod.RequestRef{{ID: "x", As: "loop", Running: true}}},
	})
	want := `MODULE  STATE     SIZE    USED  USED BY             ASKED FOR BY                         ORIGIN                   SINCE
ip_vs   live      184KiB  2     ip_vs_rr,ip_vs_wrr  0123456789ab,web as ipvs0 (stopped)  loaded for 0123456789ab  2026-01-02 03:04:05
loop    built in  -       -     -                   x                                    -                        -
`
	if err != nil || out.String() != want {
		t.Errorf("%v, printed\n%swant\n%s", err, &out, want)
	}
}
