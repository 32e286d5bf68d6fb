//go:build vmguest

package guest

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/kmod"
)

// five are asked for by many at once, users before what they use.
var five = []string{"ip_vs_wrr", "ip_vs", "dummy", "ifb", "veth"}

const askFive = "ip_vs_wrr,ip-vs,dummy,rtnl-link-ifb,veth"

// tracing has the kernel say which modules it loads and which programs start,
// until done is called.
func tracing(t *testing.T) (done func() (loaded map[string]int, modprobes int)) {
	t.Helper()
	const dir = "/sys/kernel/tracing/"
	events := []string{"events/module/module_load/enable", "events/sched/sched_process_exec/enable"}
	set := func(value string) {
		for _, e := range events {
			if err := os.WriteFile(dir+e, []byte(value), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(dir+"trace", nil, 0); err != nil {
		t.Fatal(err)
	}
	set("1")
	return func() (map[string]int, int) {
		set("0")
		data, err := os.ReadFile(dir + "trace")
		if err != nil {
			t.Fatal(err)
		}
		loaded := map[string]int{}
		for _, m := range regexp.MustCompile(`module_load: (\S+)`).FindAllStringSubmatch(string(data), -1) {
			loaded[m[1]]++
		}
		return loaded, len(regexp.MustCompile(`sched_process_exec: filename=\S*/modprobe `).FindAllString(string(data), -1))
	}
}

// As many as a busy emulated machine gets through in the ten seconds that a hook
// waits for others; package kmod has fifty requests at once.
func TestManyHooksAtOnce(t *testing.T) {
	without(t, append(five, "nf_conntrack")...)
	const n = 15
	crowd := make([]*driven, n)
	for i := range crowd {
		crowd[i] = newDriven(t, fmt.Sprintf("crowd-%02d", i), askFive)
	}
	syslog.forget()
	done := tracing(t)
	begin := time.Now()
	var wg sync.WaitGroup
	for _, d := range crowd {
		cmd := d.command("prestart")
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", d.id, err, out)
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	loaded, modprobes := done()
	requireLoaded(t, five...)
	for _, m := range five {
		if loaded[m] != 1 {
			t.Errorf("%s was loaded %d times", m, loaded[m])
		}
	}
	// One more would be the kernel's own, for a module that asks for another.
	if modprobes != 1 {
		t.Errorf("modprobe was executed %d times", modprobes)
	}
	list, err := kmod.Loader{}.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range five {
		s := statusOf(t, list, m)
		if len(s.RequestedBy) != n || s.Origin != "loaded" {
			t.Errorf("%s is %s and asked for by %d containers", m, s.Origin, len(s.RequestedBy))
		}
	}
	lines := syslog.matching(t, `hook level=info msg="kernel module" .*id=crowd-`, n*len(five))
	byResult := map[string]int{}
	for _, line := range lines {
		byResult[regexp.MustCompile(`result=(\S+)`).FindStringSubmatch(line)[1]]++
	}
	if byResult["loaded"] != len(five) || byResult["present"] != (n-1)*len(five) {
		t.Errorf("syslog says %v", byResult)
	}
	t.Logf("%d hooks × %d modules in %.1f s: modprobe executed %d time, %d requests recorded; syslog: %v, as\n%s",
		n, len(five), took.Seconds(), modprobes, n, byResult, lines[0])
}

// statusOf returns a module's entry in a list.
func statusOf(t *testing.T, list []kmod.Status, module string) kmod.Status {
	t.Helper()
	for _, s := range list {
		if s.Module == module {
			return s
		}
	}
	t.Errorf("%s is not listed", module)
	return kmod.Status{}
}

func TestFiveContainersAtOnce(t *testing.T) {
	without(t, append(five, "nf_conntrack")...)
	var all []*container
	for range 5 {
		c := newContainer(t, askFive, func(b *sandbox.Bundle) {
			config := `{"CommonConfig":{"id":"` + b.ID + `","Name":"c` + b.ID[:4] + `"}}`
			if err := os.MkdirAll(b.Dir, 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(b.Dir+"/config.v2.json", []byte(config), 0o640); err != nil {
				t.Fatal(err)
			}
		})
		c.runc.DeleteAtEnd(t, c.id)
		all = append(all, c)
	}
	done := tracing(t)
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			if err := c.runc.Run(c.id, c.dir); err != nil {
				t.Errorf("start: %v", err)
			}
		})
	}
	wg.Wait()
	loaded, modprobes := done()
	for _, m := range five {
		if loaded[m] != 1 {
			t.Errorf("%s was loaded %d times", m, loaded[m])
		}
	}
	list, err := kmod.Loader{}.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range five {
		s := statusOf(t, list, m)
		if len(s.RequestedBy) != len(all) {
			t.Errorf("%s is asked for by %d containers", m, len(s.RequestedBy))
		}
		for _, w := range s.RequestedBy {
			if w.Name != "c"+w.ID[:4] || !w.Running {
				t.Errorf("%s is asked for by %+v", m, w)
			}
		}
	}
	t.Logf("5 containers: modprobe executed %d time(s), each of %s loaded once", modprobes, strings.Join(five, ", "))
}
