package kmod

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// What stands here was compared with `modprobe -n -v` of kmod 30; the VM compares
// 200 names of a distribution.
func TestSequenceIsModprobes(t *testing.T) {
	t.Parallel()
	lib := "/lib/modules/" + release
	files := map[string]string{
		lib + "/modules.softdep":  "softdep btrfs pre: blake2b-256\nsoftdep btrfs pre: ignored\nsoftdep vfio post: vfio_type1 nosuch\nsoftdep loop_a pre: loop_b\nsoftdep loop_b pre: loop_a\n",
		"/etc/modprobe.d/a.conf":  "softdep soft pre: dummy post: cmd\ninstall cmd /bin/sh -c load\ninstall soft /bin/false\nsoftdep dummy unclear pre: btrfs\n",
		"/etc/modprobe.d/z.conf":  "softdep soft pre: late\nsoftdep btrfs pre: late\n",
		lib + "/modules.dep":      "k/a.ko:\nk/b.ko: k/a.ko\nk/c.ko.xz: k/b.ko k/a.ko\nk/btrfs.ko.zst: k/c.ko.xz k/b.ko k/a.ko\nk/blake2b_generic.ko:\nk/ignored.ko:\nk/late.ko:\nk/vfio.ko:\nk/vfio-type1.ko: k/vfio.ko\nk/loop_a.ko:\nk/loop_b.ko:\nk/soft.ko:\nk/dummy.ko:\n/abs/x.ko:\n",
		lib + "/modules.alias":    "alias blake2b-256 blake2b_generic\n",
		lib + "/kernel/k/present": "",
	}
	root := machine(t, files)
	insert(t, root, "a")
	h := Loader{Root: root, Release: release}.host()
	for module, want := range map[string]string{
		"c":      "b.ko c.ko.xz!",
		"btrfs":  "b.ko c.ko.xz blake2b_generic.ko btrfs.ko.zst!",
		"vfio":   "vfio.ko! vfio-type1.ko",
		"loop_a": "loop_b.ko loop_a.ko!",
		"soft":   "b.ko c.ko.xz blake2b_generic.ko btrfs.ko.zst dummy.ko soft.ko! sh",
		"x":      "x.ko!",
		"nosuch": "",
		"a":      "",
	} {
		t.Run(module, func(t *testing.T) {
			var got []string
			for _, s := range h.sequence(module) {
				text := s.file[strings.LastIndex(s.file, "/")+1:]
				if s.command != "" {
					text = "sh"
				}
				if s.required && (s.module == module) {
					text += "!"
				}
				got = append(got, text)
			}
			if g := strings.Join(got, " "); g != want {
				t.Errorf("%s: %s, want %s", module, g, want)
			}
		})
	}
	if f := h.file("x"); f != "/abs/x.ko" {
		t.Errorf("an absolute path becomes %s", f)
	}
}

func TestCheckForetells(t *testing.T) {
	t.Parallel()
	more := map[string]string{
		"/etc/modprobe.d/a.conf": "blacklist veth\nblacklist nlmon\ninstall going_one /bin/false\ninstall coming_one /sbin/modprobe -i $CMDLINE_OPTS coming_one\nalias two dummy\nalias two going_one\n",
		"/proc/cmdline":          "module_blacklist=padlock_aes",
	}
	lib := "/lib/modules/" + release
	for _, f := range []string{"net/netfilter/ipvs/ip_vs.ko", "net/netfilter/ipvs/ip_vs_rr.ko.xz", "lib/libcrc32c.ko", "drivers/net/veth.ko", "drivers/net/dummy.ko", "drivers/net/nlmon.ko.zst", "arch/x86/crypto/aesni-intel.ko", "drivers/crypto/padlock-aes.ko"} {
		more[lib+"/kernel/"+f] = "x"
	}
	root := machine(t, more)
	if err := os.Remove(root + lib + "/kernel/lib/libcrc32c.ko"); err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		state  Expected
		files  int
		note   string
		reason string
	}{
		"nf-conntrack": {IsPresent, 0, "", ""},
		"hmac":         {IsBuiltIn, 0, "", ""},
		"dummy":        {IsLoadable, 1, "", ""},
		"veth":         {IsLoadable, 1, "veth is blacklisted (/etc/modprobe.d/a.conf:1)", ""},
		"fs-nl1":       {IsBlocked, 0, "so this alias does not load it", "every module that alias fs-nl1 stands for is blacklisted"},
		"going-one":    {IsBlocked, 0, "", "`install going_one /bin/false` in /etc/modprobe.d/a.conf:3 keeps it away"},
		"coming_one":   {IsLoadable, 1, "has a command executed for coming_one", ""},
		"two":          {IsBlocked, 1, "", "alias for going_one"},
		"crypto-aes":   {IsLoadable, 1, "module_blacklist= on the kernel's command line forbids padlock_aes", ""},
		"padlock_aes":  {IsBlocked, 0, "", "module_blacklist="},
		"ip_vs":        {IsBlocked, 0, "", "libcrc32c.ko: no such file or directory: run depmod -a"},
		"nosuch":       {IsMissing, 0, "", "not found in /lib/modules/"},
	}
	l := Loader{Root: root, Release: release}
	list, err := l.Check(slices.Sorted(maps.Keys(want)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		w := want[f.Name]
		if f.State != w.state || len(f.Files) != w.files || !strings.Contains(strings.Join(f.Notes, "\n"), w.note) ||
			!strings.Contains(f.Reason, w.reason) || f.Fails() != (w.reason != "") {
			t.Errorf("%s: %+v, want %+v", f.Name, f, w)
		}
	}
	if _, err := l.Check([]string{"dummy", "-r"}); err == nil {
		t.Error("-r is a name")
	}
}
