package kmod

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/open"
	"isula.org/isulad-tools/internal/place"
)

// policyLimit bounds the policy's file; a thousand patterns are some 30 KB.
const policyLimit = 1 << 20

// policy is what an administrator allows containers to ask for. It is about the
// modules that a name stands for, not about what these need in turn: who allows
// ip_vs allows what ip_vs is made of. And it is about asking, so a module that is
// loaded already is not exempt: whether a container may start must not depend on
// what started before it.
type policy struct {
	byDefault   bool // whether what no pattern matches is allowed
	allow, deny []string
}

// denial returns the rule that keeps containers from having a module, "" when
// there is none. deny counts more than allow, and allow more than the default.
func (p *policy) denial(module string) string {
	if p == nil {
		return ""
	}
	for _, pattern := range p.deny {
		if match(pattern, module) {
			return fmt.Sprintf("denied by %q in \"deny\" of %s", pattern, place.ModulePolicy)
		}
	}
	if p.byDefault {
		return ""
	}
	for _, pattern := range p.allow {
		if match(pattern, module) {
			return ""
		}
	}
	return fmt.Sprintf("denied by \"default\" of %s: no pattern in \"allow\" matches it", place.ModulePolicy)
}

// policy reads the policy; nil is none, which allows everything.
func (h *host) policy() (*policy, error) {
	data, err := readPolicy(h.root + place.ModulePolicy)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var p *policy
	if err == nil {
		p, err = parsePolicy(data)
	}
	if err != nil {
		return nil, fmt.Errorf("kernel module policy %s: %w; no container that asks for modules starts until it is mended", place.ModulePolicy, err)
	}
	return p, nil
}

// readPolicy returns the content of a file that only root can have written.
func readPolicy(path string) ([]byte, error) {
	f, err := open.Regular(path, unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fs.ErrNotExist
	case errors.Is(err, unix.ELOOP):
		return nil, errors.New("it is a symbolic link, not a regular file")
	case errors.Is(err, open.ErrNotRegular):
		return nil, errors.New("it is not a regular file")
	case err != nil:
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	switch {
	case st.Uid != 0:
		return nil, fmt.Errorf("it belongs to user %d: chown root it", st.Uid)
	case st.Mode&0o022 != 0:
		return nil, fmt.Errorf("users other than root may write it (mode %04o): chmod go-w it", st.Mode&0o7777)
	}
	return open.Content(f, policyLimit)
}

// parsePolicy reads {"default":"allow"|"deny","allow":[…],"deny":[…]}, where
// default is required. encoding/json alone would take "Deny", keep the last of two
// "deny" and know nothing of a "denny": each a hole where a rule was meant.
func parsePolicy(data []byte) (*policy, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, policyError(err, "not a JSON object")
	}
	p := new(policy)
	seen := make(map[string]bool)
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, policyError(err, "")
		}
		key, _ := t.(string) // nothing else can be a key
		if seen[key] {
			return nil, fmt.Errorf("%q stands twice", key)
		}
		seen[key] = true
		switch key {
		case "default":
			t, err := dec.Token()
			if err != nil {
				return nil, policyError(err, "")
			}
			if t != "allow" && t != "deny" {
				return nil, fmt.Errorf(`default: want "allow" or "deny"`)
			}
			p.byDefault = t == "allow"
		case "allow":
			p.allow, err = parsePatterns(dec, key)
		case "deny":
			p.deny, err = parsePatterns(dec, key)
		default:
			return nil, fmt.Errorf(`unknown key %q: want "default", "allow", "deny"`, key)
		}
		if err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, policyError(err, "")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	if !seen["default"] {
		return nil, errors.New(`"default" is missing: want "allow" or "deny"`)
	}
	return p, nil
}

// policyError words what the decoder says; what is for no error.
func policyError(err error, what string) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends in the middle of its JSON")
	case err != nil:
		return err
	}
	return errors.New(what)
}

// parsePatterns reads a list of patterns and returns them as canonical names are
// spelt.
func parsePatterns(dec *json.Decoder, key string) ([]string, error) {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, policyError(err, key+": not a list")
	}
	var patterns []string
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, policyError(err, "")
		}
		text, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("%s[%d]: not a string", key, len(patterns))
		}
		pattern, err := parsePattern(text)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %q: %w", key, len(patterns), text, err)
		}
		patterns = append(patterns, pattern)
	}
	if _, err := dec.Token(); err != nil {
		return nil, policyError(err, "")
	}
	return patterns, nil
}

// parsePattern checks a shell pattern. What could never match a module's name is
// refused, because somebody means it to.
func parsePattern(text string) (string, error) {
	if text == "" || len(text) > maxName {
		return "", fmt.Errorf("want 1 to %d characters", maxName)
	}
	name := func(c byte) bool { return valid("x" + string(rune(c))) }
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '*' || c == '?' || name(c):
		case c == '[':
			end := strings.IndexByte(text[i:], ']')
			if end < 0 {
				return "", errors.New("a [ without its ]")
			}
			if err := checkClass(text[i+1 : i+end]); err != nil {
				return "", err
			}
			i += end
		case c == ']':
			return "", errors.New("a ] without its [")
		default:
			return "", errors.New("no module's name has such a character")
		}
	}
	pattern, _ := underscores(text)
	return pattern, nil
}

// checkClass checks the inside of a bracket expression: an optional '!' or '^',
// then letters, digits, '_' and ranges of letters or digits.
func checkClass(class string) error {
	class = strings.TrimLeft(class[:min(1, len(class))], "!^") + class[min(1, len(class)):]
	if class == "" {
		return errors.New("brackets with nothing in them")
	}
	plain := func(c byte) bool { return c != '-' && valid(string(rune(c))) }
	for i := 0; i < len(class); i++ {
		if !plain(class[i]) {
			return errors.New("brackets hold letters, digits, _ and ranges such as a-z (names are matched with _ for -)")
		}
		if i+1 < len(class) && class[i+1] == '-' {
			if i+2 >= len(class) || !plain(class[i+2]) || class[i+2] < class[i] {
				return errors.New("a range that has no end, or none after its beginning")
			}
			i += 2
		}
	}
	return nil
}
