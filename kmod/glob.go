package kmod

import "strings"

// match is fnmatch(3) without flags, in the C locale, for a pattern of an alias
// or an install line. path.Match differs: there "[!x]" is no negation and an open
// bracket an error.
func match(pattern, name string) bool {
	// On a mismatch, the last '*' takes one byte more.
	star, resume := -1, 0
	p, n := 0, 0
	for n < len(name) || p < len(pattern) {
		if p < len(pattern) && pattern[p] == '*' {
			star, resume = p, n
			p++
			continue
		}
		if n < len(name) && p < len(pattern) {
			if width := matchOne(pattern[p:], name[n]); width > 0 {
				p += width
				n++
				continue
			}
		}
		if star < 0 || resume >= len(name) {
			return false
		}
		resume++
		p, n = star+1, resume
	}
	return true
}

// matchOne matches the first element of pattern, which is not '*', with c, and
// returns the element's length, 0 when it does not match.
func matchOne(pattern string, c byte) int {
	switch pattern[0] {
	case '?':
		return 1
	case '\\':
		if len(pattern) > 1 && pattern[1] == c {
			return 2
		}
		return 0
	case '[':
		if in, width := class(pattern, c); width > 0 {
			if in {
				return width
			}
			return 0
		}
	}
	if pattern[0] == c {
		return 1
	}
	return 0
}

// class matches a bracket expression. Its width is 0 when it has no end. Classes
// such as [:digit:] need no care: kmod ignores lines with them (see underscores).
func class(pattern string, c byte) (in bool, width int) {
	i := 1
	negated := strings.HasPrefix(pattern[1:], "!") || strings.HasPrefix(pattern[1:], "^")
	if negated {
		i++
	}
	for first := true; i < len(pattern); first = false {
		if pattern[i] == ']' && !first {
			return in != negated, i + 1
		}
		if i+1 < len(pattern) && pattern[i] == '\\' {
			i++
		}
		lo, hi := pattern[i], pattern[i]
		i++
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			hi = pattern[i+1]
			i += 2
		}
		if lo <= c && c <= hi {
			in = true
		}
	}
	return false, 0
}
