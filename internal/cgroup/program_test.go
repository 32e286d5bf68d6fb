package cgroup

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// allow and deny read a rule in the language of the v1 controller.
func allow(text string) DeviceRule { return rule(true, text) }
func deny(text string) DeviceRule  { return rule(false, text) }

func rule(allow bool, text string) DeviceRule {
	r := DeviceRule{Allow: allow}
	text = strings.ReplaceAll(text, "*", "-1")
	if _, err := fmt.Sscanf(text+" ", "%s %d:%d %s", &r.Type, &r.Major, &r.Minor, &r.Access); err != nil && !strings.HasSuffix(text, " ") {
		panic(text)
	}
	return r
}

// device is one that a program is asked about.
type device struct {
	letter       string
	major, minor int64
}

// model is what rules mean: every kind of access has to be allowed by the last
// rule that matches it.
func model(rules []DeviceRule, d device, access string) bool {
	for _, letter := range access {
		verdict := false
		for _, r := range rules {
			numbers := (r.Major == Any || r.Major == d.major) && (r.Minor == Any || r.Minor == d.minor)
			if r.Type == "a" || r.Type == d.letter && numbers && strings.ContainsRune(r.Access, letter) {
				verdict = r.Allow
			}
		}
		if !verdict {
			return false
		}
	}
	return true
}

// run interprets a program as the kernel does.
func run(t *testing.T, program []insn, d device, access string) bool {
	t.Helper()
	var context [3]uint32 // struct bpf_cgroup_dev_ctx
	for _, letter := range access {
		context[0] |= map[rune]uint32{'m': unix.BPF_DEVCG_ACC_MKNOD, 'r': unix.BPF_DEVCG_ACC_READ, 'w': unix.BPF_DEVCG_ACC_WRITE}[letter] << 16
	}
	context[0] |= map[string]uint32{"b": unix.BPF_DEVCG_DEV_BLOCK, "c": unix.BPF_DEVCG_DEV_CHAR}[d.letter]
	context[1], context[2] = uint32(d.major), uint32(d.minor)
	var regs [11]int64
	for pc := 0; pc < len(program); pc++ {
		i := program[pc]
		dst, src := &regs[i.regs&15], regs[i.regs>>4]
		switch i.op {
		case 0x61: // dst = *(u32 *)(src + off)
			*dst = int64(context[i.off/4])
		case 0xbf:
			*dst = src
		case 0x4f:
			*dst |= src
		case 0xb7:
			*dst = int64(i.imm)
		case 0x67:
			*dst <<= i.imm
		case 0xc7:
			*dst >>= i.imm
		case 0x05:
			pc += int(i.off)
		case 0x15:
			if *dst == int64(i.imm) {
				pc += int(i.off)
			}
		case 0x45:
			if *dst&int64(i.imm) != 0 {
				pc += int(i.off)
			}
		case 0x95:
			return regs[0] == 1
		default:
			t.Fatalf("instruction %d has the unknown code %#x", pc, i.op)
		}
	}
	t.Fatal("the program has no end")
	return false
}

var accesses = []string{"r", "w", "m", "rw", "rm", "wm", "rwm"}

// agree compares what rules mean with what their program does.
func agree(t *testing.T, rules []DeviceRule, devices []device) {
	t.Helper()
	program, err := compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		for _, access := range accesses {
			if got, want := run(t, program, d, access), model(rules, d, access); got != want {
				t.Errorf("%v: %s of %v is allowed: %v, want %v", rules, access, d, got, want)
			}
		}
	}
}

var fuse, null, disk = device{"c", 10, 229}, device{"c", 1, 3}, device{"b", 8, 16}

func TestTheLastMatchWins(t *testing.T) {
	t.Parallel()
	none, every := deny("a *:* rwm"), allow("a *:* rwm")
	for name, c := range map[string]struct {
		rules            []DeviceRule
		fuse, null, disk string // what is allowed
	}{
		"no rule":                           {nil, "", "", ""},
		"everything":                        {[]DeviceRule{every}, "rwm", "rwm", "rwm"},
		"a device after all are denied":     {[]DeviceRule{none, allow("c 10:229 rwm")}, "rwm", "", ""},
		"a device before all are denied":    {[]DeviceRule{allow("c 10:229 rwm"), none}, "", "", ""},
		"a device of a class is denied":     {[]DeviceRule{none, allow("c 10:* rwm"), deny("c 10:229 rwm")}, "", "", ""},
		"a class of a device is denied":     {[]DeviceRule{none, allow("c 10:229 rwm"), deny("c 10:* rwm")}, "", "", ""},
		"a device of a denied class":        {[]DeviceRule{every, deny("c 10:* rwm"), allow("c 10:229 rwm")}, "rwm", "rwm", "rwm"},
		"a class of a denied device":        {[]DeviceRule{every, deny("c 10:229 rwm"), allow("c 10:* rwm")}, "rwm", "rwm", "rwm"},
		"by its minor number":               {[]DeviceRule{none, allow("c *:229 rw")}, "rw", "", ""},
		"by its major number":               {[]DeviceRule{none, allow("c 1:* rw"), allow("b 8:* r")}, "", "rw", "r"},
		"a major number's minor is denied":  {[]DeviceRule{none, allow("c 1:* rwm"), deny("c *:3 w")}, "", "rm", ""},
		"all of one type":                   {[]DeviceRule{none, allow("c *:* rwm")}, "rwm", "rwm", ""},
		"all of one type, for one access":   {[]DeviceRule{none, allow("c *:* m"), allow("b *:* m")}, "m", "m", "m"},
		"some access is taken back":         {[]DeviceRule{none, allow("c 10:229 rwm"), deny("c 10:229 w")}, "rm", "", ""},
		"access comes rule by rule":         {[]DeviceRule{none, allow("c 10:229 r"), allow("c 10:* w"), allow("c *:* m")}, "rwm", "m", ""},
		"one access of everything is taken": {[]DeviceRule{every, deny("c 10:229 w")}, "rm", "rwm", "rwm"},
		"no access":                         {[]DeviceRule{every, deny("c 10:229 "), deny("b 8:16 ")}, "rwm", "rwm", "rwm"},
		"type a is for every access":        {[]DeviceRule{every, deny("a 1:3 r")}, "", "", ""},
		"and for all numbers":               {[]DeviceRule{none, allow("a 1:3 ")}, "rwm", "rwm", "rwm"},
		"no device has such numbers":        {[]DeviceRule{none, allow("c 4096:3 rwm"), allow("c 9:1048777 rwm"), allow("c -7:229 rwm"), allow("c 4294967306:229 rwm")}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program, err := compile(c.rules)
			if err != nil {
				t.Fatal(err)
			}
			for d, want := range map[device]string{fuse: c.fuse, null: c.null, disk: c.disk} {
				got := ""
				for _, letter := range []string{"r", "w", "m"} {
					if run(t, program, d, letter) {
						got += letter
					}
				}
				if got != want {
					t.Errorf("%v may be used for %q, want %q", d, got, want)
				}
			}
			agree(t, c.rules, []device{fuse, null, disk})
		})
	}
}

// TestAProgramDoesWhatItsRulesMean runs programs of random rules with devices
// whose numbers are often those of a rule, at both ends of what a number can be.
func TestAProgramDoesWhatItsRulesMean(t *testing.T) {
	t.Parallel()
	numbers := []int64{0, 1, 3, 229, 2048, maxMajor}
	var devices []device
	for _, letter := range []string{"b", "c"} {
		for _, major := range numbers {
			for _, minor := range append(numbers, maxMinor) {
				devices = append(devices, device{letter, major, minor})
			}
		}
	}
	for seed := range uint64(200) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			agree(t, randomRules(rand.New(rand.NewPCG(seed, 1)), numbers), devices)
		})
	}
}

// randomRules are up to 30 rules, few of which are for everything.
func randomRules(random *rand.Rand, numbers []int64) []DeviceRule {
	pick := func() int64 {
		if random.IntN(4) == 0 {
			return Any
		}
		return numbers[random.IntN(len(numbers))]
	}
	rules := make([]DeviceRule, random.IntN(30))
	for i := range rules {
		rules[i] = DeviceRule{random.IntN(2) == 0, "bc"[random.IntN(2):][:1], pick(), pick(), append(accesses, "")[random.IntN(8)]}
		if random.IntN(12) == 0 {
			rules[i].Type = "a"
		}
	}
	return rules
}

func TestAProgramHasAsManyInstructionsAsItNeeds(t *testing.T) {
	t.Parallel()
	var devices []DeviceRule
	for i := range int64(300) {
		devices = append(devices, allow(fmt.Sprintf("b 8:%d rw", i)))
	}
	recorded := []DeviceRule{
		deny("a *:* rwm"), allow("c *:* m"), allow("b *:* m"), allow("c 1:3 rwm"), allow("c 1:5 rwm"), allow("c 1:7 rwm"), allow("c 5:0 rwm"),
		allow("c 5:1 rwm"), allow("c 5:2 rwm"), allow("c 1:8 rwm"), allow("c 1:9 rwm"), allow("c 136:* rwm"), allow("c 10:200 rwm"), deny("c 10:229 rwm"),
	}
	for name, c := range map[string]struct {
		rules []DeviceRule
		most  int
	}{
		"everything":                       {[]DeviceRule{allow("a *:* rwm")}, 12},
		"a system container":               {recorded, 40},
		"a system container, 300 disks":    {slices.Concat(recorded, devices), 340},
		"rules that nothing can come to":   {slices.Concat(devices, recorded), 40},
		"rules that say what is said":      {slices.Concat([]DeviceRule{allow("a *:* rwm")}, devices), 12},
		"what is said, but for one device": {slices.Concat([]DeviceRule{allow("a *:* rwm"), deny("b 8:9 rwm")}, devices), 350},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if program, err := compile(c.rules); err != nil || len(program) > c.most {
				t.Errorf("%d instructions, %v, want at most %d", len(program), err, c.most)
			}
			agree(t, c.rules, []device{fuse, null, disk, {"b", 8, 9}, {"b", 8, 299}, {"b", 8, 300}})
		})
	}
}

func TestRulesThatNoRuntimeTakesAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rules []DeviceRule
		want  string
	}{
		"a type of node that is no device": {[]DeviceRule{allow("c 1:3 rwm"), deny("p 1:3 rwm")}, `"p"`},
		"no type":                          {[]DeviceRule{{}}, `""`},
		"too many for a jump":              {slices.Repeat([]DeviceRule{allow("c 1:3 rwm")}, maxRules+1), "10001 rules"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := compile(c.rules); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error that says %s", err, c.want)
			}
		})
	}
}
