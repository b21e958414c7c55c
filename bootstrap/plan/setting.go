package plan

import (
	"fmt"
	"reflect"
	"strconv"
)

// Origin says who declared something: every error that a user sees carries one.
type Origin struct {
	Front string // config, flag, environment, annotations, …
	At    string // file:line:column, a flag or a variable's name
	Key   string // the key inside the declaration, such as files[0].path
}

// String gives "AT: KEY", or what there is of it.
func (o Origin) String() string {
	switch {
	case o.At != "" && o.Key != "":
		return o.At + ": " + o.Key
	case o.At != "":
		return o.At
	case o.Key != "":
		return o.Key
	}
	return o.Front
}

// Setting is a value together with the fact that, and the place where, it was
// set. The zero Setting is not set.
type Setting[T any] struct {
	Value  T
	Origin Origin
	IsSet  bool
}

// Set makes a Setting that is set.
func Set[T any](v T, from Origin) Setting[T] {
	return Setting[T]{Value: v, Origin: from, IsSet: true}
}

// Or gives the value, or def when none was set.
func (s Setting[T]) Or(def T) T {
	if s.IsSet {
		return s.Value
	}
	return def
}

// setting lets merge.go treat settings of all types alike.
type setting interface {
	isSet() bool
	from() Origin
	text() string
	same(setting) bool
	take(setting)
	forget()
}

func (s *Setting[T]) isSet() bool  { return s.IsSet }
func (s *Setting[T]) from() Origin { return s.Origin }
func (s *Setting[T]) text() string { return fmt.Sprint(s.Value) }

func (s *Setting[T]) same(o setting) bool {
	v, ok := o.(*Setting[T])
	return ok && reflect.DeepEqual(s.Value, v.Value)
}

func (s *Setting[T]) forget() { *s = Setting[T]{} }

func (s *Setting[T]) take(o setting) {
	if v, ok := o.(*Setting[T]); ok {
		*s = *v
	}
}

// HandleKind is the sort of place that a secret input is found in.
type HandleKind uint8

// The kinds.
const (
	HandleNone HandleKind = iota
	HandleEnv             // Name is a variable
	HandleFile            // Name is a path; one trailing newline is not part of the value
	HandleKey             // Name is a key in the configuration file File
	HandleText            // Name is the value itself: it is shown openly in the declaration and is no secret
)

// Handle is the place where a secret input is found, never its text.
type Handle struct {
	Kind   HandleKind
	Name   string
	File   string
	Origin Origin

	// Member, with HandleEnv and HandleFile, is a key of the JSON object that
	// begins at byte Offset of the text there: its value, which is the text of a
	// string and the JSON of anything else. Without a Member the text is that
	// from byte Offset up to End, where an End of 0 is that of the text.
	Member string
	Offset int
	End    int

	// Of is the length in bytes of the whole text when it was declared, where a place
	// in it was counted then; 0 is not known. A text that has another length now is
	// refused: other bytes than those that were meant would be taken.
	Of int

	// JSON, of what a write sends, says that the text is JSON and goes out as it is,
	// not as a JSON string. With a Member it is the JSON of a string as well.
	JSON bool
}

// String names the place, as env:NAME, file:PATH or FILE#KEY; a part of a text
// as env:NAME@OFFSET-END or env:NAME@OFFSET#MEMBER.
func (h Handle) String() string {
	switch h.Kind {
	case HandleEnv:
		return "env:" + h.Name + h.member()
	case HandleFile:
		return "file:" + h.Name + h.member()
	case HandleKey:
		return h.File + "#" + h.Name
	case HandleText:
		return h.Name
	}
	return ""
}

// member names the part that is meant: two parts never have one name, because
// what a request is told by is made of it.
func (h Handle) member() string {
	part := ""
	if h.Offset > 0 || h.End > 0 {
		part = "@" + strconv.Itoa(h.Offset)
	}
	if h.End > 0 {
		part += "-" + strconv.Itoa(h.End)
	}
	if h.Member != "" {
		part += "#" + h.Member
	}
	return part
}

// same reports whether both name the same place, wherever they were declared.
func (h Handle) same(o Handle) bool {
	return h.Kind == o.Kind && h.Name == o.Name && h.File == o.File && h.Member == o.Member && h.Offset == o.Offset && h.End == o.End && h.Of == o.Of && h.JSON == o.JSON
}
