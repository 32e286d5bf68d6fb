package cgroup

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// insn is struct bpf_insn of linux/bpf.h, on a little-endian machine.
type insn struct {
	op   uint8
	regs uint8 // the destination in the lower half, the source in the upper
	off  int16 // of a jump: instructions to skip
	imm  int32
}

// The registers of a program. The kernel calls it with its context, struct
// bpf_cgroup_dev_ctx, and reads the verdict: 1 allows, 0 refuses with EPERM.
const (
	verdict = iota // before the verdict: type and access, as the context has them
	context
	major
	minor
	number // both: major<<20|minor, as in the kernel's dev_t
)

const (
	ctxAccessType = 0 // access<<16|type
	ctxMajor      = 4
	ctxMinor      = 8

	minorBits = 20
	maxMajor  = 1<<(32-minorBits) - 1
	maxMinor  = 1<<minorBits - 1
)

func load(reg uint8, field int16) insn {
	return insn{op: unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W, regs: reg | context<<4, off: field}
}

func compute(op, reg uint8, imm int32) insn {
	return insn{op: unix.BPF_ALU64 | unix.BPF_K | op, regs: reg, imm: imm}
}

func combine(op, reg, with uint8) insn {
	return insn{op: unix.BPF_ALU64 | unix.BPF_X | op, regs: reg | with<<4}
}

func jump(skip int) insn { return insn{op: unix.BPF_JMP | unix.BPF_JA, off: int16(skip)} }

func jumpIf(op, reg uint8, imm int32, skip int) insn {
	return insn{op: unix.BPF_JMP | unix.BPF_K | op, regs: reg, imm: imm, off: int16(skip)}
}

func returnInsns(allow int32) []insn {
	return []insn{compute(unix.BPF_MOV, verdict, allow), {op: unix.BPF_JMP | unix.BPF_EXIT}}
}

// maxRules keeps every jump of a program within its 16 bits.
const maxRules = 10000

// compile makes a device program of rules, the last of which wins. Each kind of
// access that is asked for is looked up by itself: opening for reading and writing
// is allowed where both are, by one rule or by two, and refused where either is.
//
// A rule is one instruction in each chain that it is in. Where it does not match,
// the program goes straight on. The verifier follows that way first, so it has seen
// the rest of the program with any device before it comes there again with the
// device of a rule. Its work grows with the number of rules, not with their square.
func compile(rules []DeviceRule) ([]insn, error) {
	if len(rules) > maxRules {
		return nil, fmt.Errorf("%d rules, more than %d", len(rules), maxRules)
	}
	for _, r := range rules {
		if !slices.Contains([]string{all, "b", "c"}, r.Type) {
			return nil, fmt.Errorf("rule for devices of type %q, which is none of a, b and c", r.Type)
		}
	}
	blocks, chars := ofType(rules, "b"), ofType(rules, "c")
	return slices.Concat([]insn{
		load(major, ctxMajor),
		load(minor, ctxMinor),
		combine(unix.BPF_MOV, number, major),
		compute(unix.BPF_LSH, number, 32+minorBits), // up to the sign, as comparisons extend theirs
		compute(unix.BPF_ARSH, number, 32),
		combine(unix.BPF_OR, number, minor),
		load(verdict, ctxAccessType),
		jumpIf(unix.BPF_JSET, verdict, unix.BPF_DEVCG_DEV_CHAR, len(blocks)),
	}, blocks, chars), nil
}

// ofType is the part of a program for devices of one type. Kinds of access that
// have the same chain share it.
func ofType(rules []DeviceRule, devType string) []insn {
	var chains []chain
	for _, a := range [...]struct {
		letter string
		bit    int32
	}{{"r", unix.BPF_DEVCG_ACC_READ}, {"w", unix.BPF_DEVCG_ACC_WRITE}, {"m", unix.BPF_DEVCG_ACC_MKNOD}} {
		c := chainOf(rules, devType, a.letter)
		same := slices.IndexFunc(chains, func(o chain) bool { return o.allow == c.allow && slices.Equal(o.matches, c.matches) })
		if same < 0 {
			same, chains = len(chains), append(chains, c)
		}
		chains[same].access |= a.bit
	}
	var program []insn
	for _, c := range chains {
		program = append(program, c.compile()...)
	}
	return append(program, returnInsns(1)...)
}

// chain is what rules say of some access to devices of one type: what the first
// match says, or allow where nothing matches.
type chain struct {
	access  int32 // BPF_DEVCG_ACC_*
	matches []match
	allow   bool
}

// match is a rule for devices that have imm in the register reg.
type match struct {
	reg   uint8
	imm   int32
	allow bool
}

// chainOf is the chain for one letter of access.
func chainOf(rules []DeviceRule, devType, letter string) chain {
	var c chain
	for _, r := range slices.Backward(rules) {
		if r.Type != all && (r.Type != devType || !strings.Contains(r.Access, letter)) {
			continue
		}
		if r.Type == all || r.Major == Any && r.Minor == Any {
			c.allow = r.Allow
			break
		}
		switch {
		case r.Major < Any || r.Major > maxMajor || r.Minor < Any || r.Minor > maxMinor:
			// No device has such numbers.
		case r.Major == Any:
			c.matches = append(c.matches, match{minor, int32(r.Minor), r.Allow})
		case r.Minor == Any:
			c.matches = append(c.matches, match{major, int32(r.Major), r.Allow})
		default:
			c.matches = append(c.matches, match{number, int32(r.Major<<minorBits | r.Minor), r.Allow})
		}
	}
	for n := len(c.matches); n > 0 && c.matches[n-1].allow == c.allow; n-- {
		c.matches = c.matches[:n-1] // says what is said anyway
	}
	return c
}

// compile is the part of a program that refuses what the chain does, and goes on
// behind itself otherwise.
func (c chain) compile() []insn {
	if c.allow && len(c.matches) == 0 {
		return nil
	}
	end := returnInsns(0)
	if c.allow {
		end = append([]insn{jump(len(end))}, end...)
	}
	size := len(c.matches) + len(end)
	program := []insn{
		load(verdict, ctxAccessType),
		jumpIf(unix.BPF_JSET, verdict, c.access<<16, 1),
		jump(size),
	}
	for i, m := range c.matches {
		to := size
		if !m.allow {
			to -= len(returnInsns(0))
		}
		program = append(program, jumpIf(unix.BPF_JEQ, m.reg, m.imm, to-i-1))
	}
	return append(program, end...)
}
