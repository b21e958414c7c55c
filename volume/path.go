package volume

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	maxElement = 255  // NAME_MAX of every file system we know
	maxPath    = 4095 // PATH_MAX of linux/limits.h counts the final NUL
)

// relative checks path and makes it relative to dir. Nothing is resolved or
// cleaned: what a declaration says is delivered under that very name or refused.
func relative(dir, path string) (string, error) {
	rel := path
	if strings.HasPrefix(path, "/") {
		var inside bool
		if rel, inside = strings.CutPrefix(path, strings.TrimSuffix(dir, "/")+"/"); !inside {
			return "", fmt.Errorf("the path is absolute and not below %s", dir)
		}
	}
	if rel == "" {
		return "", errors.New("the path is empty")
	}
	if len(dir)+1+len(rel) > maxPath {
		return "", fmt.Errorf("the path is longer than %d bytes", maxPath)
	}
	for elem := range strings.SplitSeq(rel, "/") {
		if err := checkElement(elem); err != nil {
			return "", err
		}
	}
	return rel, nil
}

func checkElement(elem string) error {
	switch {
	case elem == "":
		return errors.New("the path has an empty element")
	case elem == ".":
		return errors.New(`the path has a "." element`)
	case strings.HasPrefix(elem, ".."):
		return errors.New(`an element of the path starts with ".."`)
	case len(elem) > maxElement:
		return fmt.Errorf("an element of the path is longer than %d bytes", maxElement)
	case !utf8.ValidString(elem):
		return errors.New("the path is not valid UTF-8")
	case strings.ContainsFunc(elem, isControl):
		return errors.New("the path has a control character")
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

// first gives the first element of a relative path: the name that a user sees.
func first(rel string) string {
	name, _, _ := strings.Cut(rel, "/")
	return name
}
