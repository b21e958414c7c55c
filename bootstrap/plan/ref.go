package plan

import (
	"errors"
	"strconv"
	"strings"
)

// ParseRef reads a reference: [vault:]PATH[#FIELD][#VERSION], where PATH##VERSION
// is a version of the whole secret. The error says what is wrong with it.
func ParseRef(s string) (Ref, error) {
	parts := strings.Split(strings.TrimPrefix(s, "vault:"), "#")
	if len(parts) > 3 {
		return Ref{}, errors.New("a reference has at most PATH#FIELD#VERSION")
	}
	ref := Ref{Read: Read{Path: SplitPath(parts[0])}}
	if ref.Read.Path == "" {
		return Ref{}, errors.New("the path is empty")
	}
	if len(parts) > 1 {
		ref.Field = parts[1]
	}
	if len(parts) > 2 {
		n, err := strconv.Atoi(parts[2])
		if err != nil || n < 1 {
			return Ref{}, errors.New("the version must be a whole number from 1")
		}
		ref.Read.Version = n
	}
	if len(parts) == 2 && ref.Field == "" {
		return Ref{}, errors.New("the field after # is empty")
	}
	if len(parts) > 2 && parts[2] == "" {
		return Ref{}, errors.New("the version after the second # is empty")
	}
	return ref, CheckPath(ref.Read.Path)
}

// CheckPath refuses what no Vault path has and what a URL would change.
func CheckPath(p string) error {
	for _, elem := range strings.Split(p, "/") {
		if elem == "" || elem == "." || elem == ".." {
			return errors.New("the path has an empty, . or .. element")
		}
	}
	if strings.ContainsFunc(p, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return errors.New("the path has a control character")
	}
	return nil
}

// IsTransitCiphertext reports whether s is what Vault's transit engine gives
// for an encryption ("vault:v1:…"), which is a value and not a reference.
func IsTransitCiphertext(s string) bool {
	rest, ok := strings.CutPrefix(s, "vault:v")
	if !ok {
		return false
	}
	digits, _, found := strings.Cut(rest, ":")
	_, err := strconv.ParseUint(digits, 10, 32)
	return found && err == nil
}
