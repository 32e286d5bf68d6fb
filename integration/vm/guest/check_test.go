//go:build vmguest

package guest

import (
	"fmt"
	"strings"
	"testing"
)

func TestCheckModuleTouchesNothing(t *testing.T) {
	without(t, append([]string{"ifb", "dummy"}, ipvs...)...)
	modprobeConf(t, "blacklist ifb", "install dummy /bin/true")
	policy(t, `{"default":"allow","deny":["veth"]}`)
	before := fmt.Sprint(modules(t))
	out, errs, code := tool("check-module", "ip-vs-wrr", "ifb", "rtnl-link-ifb", "dummy", "veth", "unix", "ext4", "no_such")
	if code != 1 || !strings.Contains(errs, "a container that asks for rtnl-link-ifb, dummy, veth, no_such does not start") {
		t.Errorf("exit %d: %s", code, errs)
	}
	for _, want := range []string{
		"ip-vs-wrr: loadable\n    insmod /lib/modules/", "ifb: loadable\n", "note: ifb is blacklisted (/etc/modprobe.d/TestCheckModuleTouchesNothing.conf:1)",
		"rtnl-link-ifb: blocked, alias for ifb: every module that alias rtnl-link-ifb stands for is blacklisted", "dummy: blocked: `install dummy /bin/true`",
		"veth: denied: denied by \"veth\"", "unix: built in\n", "ext4: present\n", "no_such: missing: not found in",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("check-module does not say %q", want)
		}
	}
	t.Logf("check-module:\n%s%s", out, errs)
	if after := fmt.Sprint(modules(t)); after != before {
		t.Errorf("modules before %s, after %s", before, after)
	}
	if _, _, code := tool("check-module", "ip_vs", "unix", "--", "ext4"); code != 0 {
		t.Errorf("exit %d for what works", code)
	}
	if _, _, code := tool("check-module", "../ifb"); code != 1 {
		t.Errorf("exit %d for a path", code)
	}
}
