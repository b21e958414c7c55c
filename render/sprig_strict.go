package render

import (
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Masterminds/sprig/v3"
)

// sprigRepairs replace functions of sprig that turn a failure into text (so that
// an error message would become a password) or an absent value into an empty
// one, that change a number, or whose result differs from call to call.
func sprigRepairs() map[string]any {
	theirs := sprig.HermeticTxtFuncMap()
	return map[string]any{
		"b64dec": func(s string) (string, error) { return decode64(base64.StdEncoding, s) },
		"b32dec": func(s string) (string, error) {
			b, err := base32.StdEncoding.DecodeString(s)
			if err != nil {
				return "", badData("the value is not base32", "")
			}
			return string(b), nil
		},
		"fromJson":     parseJSON,
		"mustFromJson": parseJSON,
		"get":          func(m map[string]any, key string) any { return m[key] },
		"keys":         sortedKeys,
		"values":       sortedValues,
		"atoi": func(s string) (int, error) {
			return parseNumber(s, func() (int, error) { return strconv.Atoi(s) })
		},
		"toDecimal": func(v any) (int64, error) {
			s := fmt.Sprint(v)
			return parseNumber(s, func() (int64, error) { return strconv.ParseInt(s, 8, 64) })
		},
		"ago":           ago,
		"duration":      func(seconds int64) string { return (time.Duration(seconds) * time.Second).String() },
		"durationRound": roundDuration(theirs["durationRound"]),
		"fail": func(string) (string, error) {
			return "", badData("the template calls fail", "")
		},

		"bcrypt":         onlyIf(theirs["bcrypt"], func(a []any) error { return bcryptFits(a[0]) }),
		"htpasswd":       onlyIf(theirs["htpasswd"], htpasswdFits),
		"derivePassword": onlyIf(theirs["derivePassword"], among(1, "maximum", "long", "medium", "short", "basic", "pin")),
		"genPrivateKey":  onlyIf(theirs["genPrivateKey"], among(0, "", "rsa", "dsa", "ecdsa", "ed25519")),
	}
}

// onlyIf is the function fn (which gives text) after a look at its arguments.
func onlyIf(fn any, fits func(args []any) error) any {
	v := reflect.ValueOf(fn)
	in, out := make([]reflect.Type, v.Type().NumIn()), []reflect.Type{reflect.TypeFor[string](), reflect.TypeFor[error]()}
	for i := range in {
		in[i] = v.Type().In(i)
	}
	return reflect.MakeFunc(reflect.FuncOf(in, out, false), func(args []reflect.Value) []reflect.Value {
		plain := make([]any, len(args))
		for i, arg := range args {
			plain[i] = arg.Interface()
		}
		if err := fits(plain); err != nil {
			return []reflect.Value{reflect.ValueOf(""), reflect.ValueOf(&err).Elem()}
		}
		return append(v.Call(args), reflect.Zero(out[1]))
	}).Interface()
}

func bcryptFits(password any) error {
	const most = 72 // bytes; bcrypt looks at no more
	if s, _ := password.(string); len(s) > most {
		return badData("bcrypt takes 72 bytes at most", "")
	}
	return nil
}

func htpasswdFits(args []any) error {
	if user, _ := args[0].(string); strings.Contains(user, ":") {
		return badData("the name of a user has no colon", "")
	}
	return bcryptFits(args[1])
}

// among wants argument i to be one of some words.
func among(i int, words ...string) func([]any) error {
	return func(args []any) error {
		if s, _ := args[i].(string); !slices.Contains(words, s) {
			return badData(fmt.Sprintf("argument %d must be one of %s", i+1, strings.Trim(strings.Join(words, ", "), ", ")), "")
		}
		return nil
	}
}

// sortedKeys and sortedValues stand for functions of sprig whose order is that
// of a Go map: another one each time.
func sortedKeys(dicts ...map[string]any) []string {
	keys := []string{}
	for _, m := range dicts {
		keys = append(keys, slices.Sorted(maps.Keys(m))...)
	}
	return keys
}

func sortedValues(m map[string]any) []any {
	values := []any{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		values = append(values, m[key])
	}
	return values
}

// ago gives how long a time (or a number of seconds since 1970) is past.
func ago(r *run, date any) (string, error) {
	t, err := timeOf(date)
	if err != nil {
		return "", err
	}
	return r.now().Sub(t).Round(time.Second).String(), nil
}

// roundDuration gives the durationRound of sprig what it understands: text of a
// duration, nanoseconds, or the time past since a time.
func roundDuration(theirs any) any {
	round, _ := theirs.(func(any) string)
	return func(r *run, d any) (string, error) {
		switch v := d.(type) {
		case int:
			d = int64(v)
		case int64, time.Duration:
		case string:
			if _, err := time.ParseDuration(v); err != nil {
				return "", badData("the value is not a duration", "")
			}
		case time.Time:
			d = r.now().Sub(v).String()
		default:
			return "", badData("durationRound wants a duration or a time", "")
		}
		if n, ok := d.(time.Duration); ok {
			d = int64(n)
		}
		return round(d), nil
	}
}

// vetNumbers wants every argument to be a number, or text of one: sprig takes
// all else for 0. Empty text is 0, as for parseInt.
func vetNumbers(isNumber func(string) bool) func([]any) error {
	return func(args []any) error {
		for i, arg := range args {
			s, isText := arg.(string)
			_, ok := rational(arg)
			if isText {
				ok = s == "" || isNumber(s)
			}
			if !ok {
				return badData(fmt.Sprintf("argument %d is not a number of this kind", i+1), "")
			}
		}
		return nil
	}
}

// wholeText takes what sprig takes: 7, 0x7, 7.00.
func wholeText(s string) bool {
	if before, zeros, ok := strings.Cut(s, "."); ok && strings.Trim(zeros, "0") == "" {
		s = before
	}
	_, err := strconv.ParseInt(s, 0, 64)
	return err == nil
}

func fractionText(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}
