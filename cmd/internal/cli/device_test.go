package cli

import (
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// These are on every machine.
const (
	recordedNull = `{"Type":"c","Minor":3,"Major":1,"PathOnHost":"/dev/null","PathInContainer":"/dev/n","CgroupPermissions":"rwm","Parent":""}`
	recordedZero = `{"Type":"c","Minor":5,"Major":1,"PathOnHost":"/dev/zero","PathInContainer":"/dev/zero","CgroupPermissions":"r","Parent":""}`
)

func resources(list ...string) string { return `{"deviceToAdd":[` + strings.Join(list, ",") + `]}` }

func TestDevicesOfAStoppedContainerAreOnlyRecorded(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file := filepath.Join(runcContainer(t, root, "c1", "A=b"), "device_hook.json")
	const gone = `{"Type":"b","Minor":77,"Major":259,"PathOnHost":"/dev/units-gone","PathInContainer":"/dev/g","CgroupPermissions":"","Parent":""}`
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
		before, after  string
	}{
		{"add-device c1 /dev/null:/dev/n /dev/zero:r", 0, "Add device (/dev/null) to container(c1,/dev/n) done.\nAdd device (/dev/zero) to container(c1,/dev/zero) done.\n", "", `{}`, resources(recordedNull, recordedZero)},
		{"add-device --optional c1 /dev/null:/dev/n", 0, "Add device (/dev/null) to container(c1,/dev/n) done.\n", "", `{}`, resources(strings.Replace(recordedNull, "}", `,"Optional":true}`, 1))},
		{"add-device c1 /dev/full:/dev/n /dev/null:/x /dev/zero::r", 1, "Add device (/dev/zero) to container(c1,/dev/zero) done.\n", "Failed to add device: device /dev/null:/dev/n has been already added into container device /dev/null:/dev/n has been already added into container\n", resources(recordedNull), resources(recordedNull, recordedZero)},
		{"add-device --dry-run c1 /dev/zero:r", 0, "would add device /dev/zero:/dev/zero:r (1:5), at the next start\n", "", resources(recordedNull), resources(recordedNull)},
		{"remove-device --dry-run c1 /dev/null", 0, "would remove device /dev/null:/dev/n:rwm (1:3), at the next start\n", "", resources(recordedNull), resources(recordedNull)},
		{"remove-device c1 :/dev/n", 0, "Remove device (/dev/null) from container(c1,/dev/n) done.\n", "", resources(recordedNull, recordedZero), resources(recordedZero)},
		{"remove-device c1 /dev/null:/x:r :/y /dev/zero", 1, "Remove device (/dev/zero) from container(c1,/dev/zero) done.\n", "Failed to remove device: " +
			"Device pair(/dev/null:/x) is not added by isulad-tools, can not remove it, please check input parameter. " +
			"Device pair(/y:/y) is not added by isulad-tools, can not remove it, please check input parameter.\n", resources(recordedNull, recordedZero), resources(recordedNull)},
		{"remove-device c1 /dev/zero /dev/zero", 1, "Remove device (/dev/zero) from container(c1,/dev/zero) done.\n", "Failed to remove device: device /dev/zero:/dev/zero has not been added into container\n", resources(recordedZero), `{}`},
		// What the host has no more can be removed, and no one else loses a field.
		{"update-device --device-read-bps /dev/null:1m c1", 1, "", "cannot set Qos of a char device\n", resources(gone), resources(gone)},
		{"remove-device c1 /dev/null", 0, "Remove device (/dev/null) from container(c1,/dev/n) done.\n", "", resources(recordedNull, strings.Replace(recordedZero, "}", `,"later":[1]}`, 1)), resources(strings.Replace(recordedZero, "}", `,"later":[1]}`, 1))},
	} {
		t.Run(c.args, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(c.before), 0o600); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := run(t, root, strings.Fields(c.args)...)
			if code != c.code || stdout != c.stdout || stderr != c.stderr {
				t.Errorf("%s: exit %d\n%s%s", c.args, code, stdout, stderr)
			}
			if got, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(got)) != c.after {
				t.Errorf("%s: the file holds %s, want %s", c.args, got, c.after)
			}
		})
	}
}

func TestBadDeviceArgumentsChangeNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	bundle := runcContainer(t, root, "c1", "A=b")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"add-device c1":    `"add-device" requires a minimum of 2 args`,
		"remove-device c1": `"remove-device" requires a minimum of 2 args`,
		"update-device":    `"update-device" requires a minimum of 1 args`,
		"update-device c1": "update device should specify at least one device QOS configuration",
		"update-device --device-read-bps /dev/null:1 c1 x":      `"update-device" takes no further arguments: x`,
		"update-device --blkio-weight-device /dev/null:10 c1":   "flag provided but not defined: -blkio-weight-device",
		"add-device c1 /dev/null:/a:r:w":                        "Failed to parse device: /dev/null:/a:r:w, invalid device specification: /dev/null:/a:r:w",
		"add-device c1 /dev/null:/\xff":                         "invalid device specification: ",
		"add-device c1 /dev/null:/a:rr":                         "Failed to parse device: /dev/null:/a:rr, invalid permission: rr",
		"add-device c1 /dev/null:rwx":                           "Failed to parse device: /dev/null:rwx, containerpath should be an absolute path: rwx",
		"add-device c1 dev/null":                                "Failed to parse device: dev/null, hostpath should be an absolute path: dev/null",
		"add-device c1 :":                                       "Failed to parse device: :, either of host path and container path should be assigned",
		"add-device c1 :/dev/x":                                 "Failed to parse device: :/dev/x, lstat : no such file or directory",
		"add-device c1 " + link:                                 "Failed to parse device: " + link + ", lstat " + filepath.Join(filepath.Dir(link), "nowhere") + ": no such file or directory",
		"add-device c1 /":                                       "Failed to parse device: /, not a device",
		"add-device c1 /dev/null:/":                             "Failed to parse device: /dev/null:/, containerpath should not be /",
		"add-device c1 /dev/null /dev/nothere":                  "Failed to parse device: /dev/nothere, lstat /dev/nothere: no such file or directory",
		"add-device --follow-partition c1 /dev/null":            "Char device /dev/null not support follow partition",
		"remove-device c1 /dev/null:/x:zz":                      "Failed to parse device mapping: /dev/null:/x:zz, invalid permission: zz",
		"remove-device c1 :":                                    "Failed to parse device mapping: :, either of host path and container path should be assigned",
		"remove-device c1 dev/x":                                "Failed to parse device mapping: dev/x, hostpath should be an absolute path: dev/x",
		"add-device --device-read-bps /dev/null c1 /dev/null":   "Bad format: /dev/null",
		"add-device --device-read-bps :1m c1 /dev/null":         "either of host path and container path should be assigned",
		"add-device --device-read-bps x:1m c1 /dev/null":        "hostpath should be an absolute path: x",
		"add-device --device-read-bps /dev/no:1m c1 /dev/null":  "lstat /dev/no: no such file or directory",
		"add-device --device-write-iops /dev/null:1 c1 /dev/no": "cannot set Qos of a char device",
		"add-device ../c1 /dev/null":                            "Invalid container name (../c1), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
		"add-device c2 /dev/null":                               "no container c2",
	} {
		t.Run(args, func(t *testing.T) {
			code, stdout, stderr := run(t, root, strings.Split(args, " ")...)
			if code != 1 || !strings.Contains(stderr, want) || stdout != "" && !strings.Contains(want, "not defined") {
				t.Errorf("%s: exit %d, %q, %q, want %q", args, code, stdout, stderr, want)
			}
		})
	}
	for kind, list := range map[string][]string{
		"read bps":     {"", "k", "1kk", "1 k", "1mib", "-1", "1.", ".5", "1e3", "0x10", "0.5", "0.0001k", "9223372036854775807", "9223372036854775808", "8192p", "99999999999999999999p", "0." + strings.Repeat("0", 400) + "1", "1\n"},
		"write iops":   {"4294967295", "4g", "0.9"},
		"blkio weight": {"", "9", "1001", "-5", "10.0", "1k", "99999999999999999999", "+10"},
	} {
		t.Run(kind, func(t *testing.T) {
			for _, value := range list {
				var ok bool
				if kind == "blkio weight" {
					_, ok = parseWeight(value)
				} else {
					largest := int64(1<<63 - 1)
					if kind == "write iops" {
						largest = 1<<32 - 2
					}
					_, ok = parseSize(value, largest)
				}
				if ok {
					t.Errorf("%s: %q was taken", kind, value)
				}
			}
		})
	}
	for _, name := range []string{"device_hook.json", ".device_hook.lock"} {
		if _, err := os.Lstat(filepath.Join(bundle, name)); err == nil {
			t.Errorf("a refused command made %s", name)
		}
	}
}

func TestSizesAreIn1024s(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"0": "0", "0k": "0", "0.0": "0", "1": "1", "1b": "1", "1B": "1", "007": "7", "1k": "1024", "1K": "1024", "1kb": "1024", "1KB": "1024", "1m": "1048576",
		"1g": "1073741824", "1t": "1099511627776", "1p": "1125899906842624", "1.5k": "1536", "1.9": "1", "0.5k": "512", "1.0009k": "1024",
		"4095p": "4610560118520545280",
	} {
		t.Run(s, func(t *testing.T) {
			if got, ok := parseSize(s, 1<<63-1); !ok || got != want {
				t.Errorf("%s is %s, %t, want %s", s, got, ok, want)
			}
		})
	}
	for s, want := range map[string]string{"0": "0", "10": "10", "1000": "1000", "0100": "100"} {
		t.Run(s, func(t *testing.T) {
			if got, ok := parseWeight(s); !ok || got != want {
				t.Errorf("weight %s is %s, %t, want %s", s, got, ok, want)
			}
		})
	}
}

func FuzzMapping(f *testing.F) {
	for _, s := range []string{"", ":", "/a", "/a:/b", "/a:rw", "/a:/b:r", "/a::m", ":/b", "/a:/b:", "a", "/a:/b:r:w", "/a:rr", "//a/../b:/./c", "/é:/\xff", "/a:wmr:r", "/a:rwm"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		m, err := parseMapping(arg)
		if err != nil {
			if strings.Contains(err.Error(), "%!") {
				t.Fatalf("%q: %v", arg, err)
			}
			return
		}
		if m.host == "" && m.container == "" {
			t.Fatalf("%q is nothing", arg)
		}
		for _, p := range []string{m.host, m.container} {
			if p != "" && (!filepath.IsAbs(p) || filepath.Clean(p) != p || strings.Contains(p, ":")) {
				t.Fatalf("%q has the path %q", arg, p)
			}
		}
		if len(m.permissions) < 1 || len(m.permissions) > 3 || strings.Trim(m.permissions, "rwm") != "" {
			t.Fatalf("%q has the permissions %q", arg, m.permissions)
		}
		// What is understood is understood the same again.
		again, err := parseMapping(m.host + ":" + m.container + ":" + m.permissions)
		if err != nil || again != m {
			t.Fatalf("%q is %v, and that is %v, %v", arg, m, again, err)
		}
	})
}

var sizeGrammar = regexp.MustCompile(`\A([0-9]+)(\.[0-9]+)?([kmgtpKMGTP]?)[bB]?\z`)

func FuzzSize(f *testing.F) {
	for _, s := range []string{"", "0", "1", "1k", "1.5MB", "0.5", "1mib", "1 k", "-1", "9223372036854775807", "9223372036854774784", "8191p", "1e3", "1..5", "00000000000000000000001b", "1\u212a", "b", "k", "kb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseSize(s, 1<<63-1)
		m := sizeGrammar.FindStringSubmatch(s)
		if m == nil {
			if ok {
				t.Fatalf("%q was taken for %s", s, got)
			}
			return
		}
		exact, valid := new(big.Rat).SetString(m[1] + m[2])
		if !valid {
			t.Fatalf("%q", s)
		}
		for range strings.Index(" kmgtp", strings.ToLower(m[3])) {
			exact.Mul(exact, big.NewRat(1024, 1))
		}
		value, _ := exact.Float64()
		switch {
		case value >= 1<<63, exact.Sign() > 0 && value < 1:
			if ok {
				t.Fatalf("%q was taken for %s", s, got)
			}
		default:
			n, err := strconv.ParseUint(got, 10, 63)
			// Above 2^53 floating point numbers have gaps.
			if err != nil || !ok || value < 1<<53 && float64(n) > value || float64(n) < value-1-value/(1<<52) {
				t.Fatalf("%q is %s, %t, want %v", s, got, ok, value)
			}
		}
	})
}

func FuzzWeight(f *testing.F) {
	for _, s := range []string{"", "0", "9", "10", "1000", "1001", "-1", "010", "1e2", "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseWeight(s)
		n, err := strconv.Atoi(got)
		if ok && (err != nil || n != 0 && (n < 10 || n > 1000) || fmt.Sprint(n) != got || strings.TrimLeft(s, "0") != strings.TrimLeft(got, "0")) {
			t.Fatalf("%q is %q", s, got)
		}
	})
}
