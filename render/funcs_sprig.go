package render

import (
	"encoding/base32"
	"encoding/base64"
	"maps"
	"strings"

	"github.com/Masterminds/sprig/v3"
)

// sprigFunctions are sprig's functions that see neither the environment nor the
// network, each under sprig_NAME and, where no function before it has it, under
// its own name.
func sprigFunctions() []*function {
	var list []*function
	all := sprig.HermeticTxtFuncMap()
	traits := sprigTraits()
	maps.Copy(all, sprigRepairs())
	for name, fn := range all {
		f := function{name: name, fn: fn}
		if trait := traits[name]; trait != nil {
			trait(&f)
		}
		prefixed := f
		prefixed.name = "sprig_" + name
		list = append(list, &f, &prefixed)
	}
	return list
}

// sprigRepairs replace functions of sprig that turn a failure into text or an
// absent value into an empty one, or that change a number.
func sprigRepairs() map[string]any {
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
	}
}

// sprigTraits say what has to be known about a function of sprig beyond its
// signature.
func sprigTraits() map[string]func(*function) {
	traits := map[string]func(*function){}
	give := func(trait func(*function), names string) {
		for name := range strings.FieldsSeq(names) {
			first := traits[name]
			traits[name] = func(f *function) {
				if first != nil {
					first(f)
				}
				trait(f)
			}
		}
	}
	give(func(f *function) { f.lenient = true }, "default coalesce empty ternary")
	give(func(f *function) { f.deep, f.inside = true, noNil },
		"quote squote cat toString toStrings join sortAlpha urlJoin")
	give(func(f *function) { f.deep, f.inside = true, mustUTF },
		"toJson toPrettyJson toRawJson mustToJson mustToPrettyJson mustToRawJson")
	give(func(f *function) { f.deep = true }, "deepCopy mustDeepCopy deepEqual has mustHas uniq mustUniq without mustWithout")
	give(func(f *function) { f.deep, f.mutates = true, true }, "set merge mergeOverwrite mustMerge mustMergeOverwrite")
	give(func(f *function) { f.numbers = true },
		"add add1 add1f addf sub subf mul mulf div divf mod max min biggest maxf minf ceil floor round int int64 float64 "+
			"until untilStep seq toDecimal duration durationRound ago")
	give(func(f *function) { f.cost = 10_000 },
		"bcrypt htpasswd derivePassword genPrivateKey genCA genCAWithKey genSelfSignedCert genSelfSignedCertWithKey "+
			"genSignedCert genSignedCertWithKey buildCustomCert decryptAES encryptAES")
	for name, guard := range sprigGuards() {
		give(func(f *function) { f.guard = guard }, name)
	}
	return traits
}

// sprigGuards bound the functions that can make much out of little.
func sprigGuards() map[string]func([]any) int {
	guards := map[string]func([]any) int{
		"repeat":      func(a []any) int { return times(whole(a[0]), len(texts(a)[1])) },
		"indent":      guardIndent,
		"nindent":     guardIndent,
		"replace":     guardReplace,
		"join":        guardJoin,
		"wrapWith":    func(a []any) int { return times(len(texts(a)[1])+1, len(texts(a)[2])+1) },
		"until":       func(a []any) int { return elements(0, whole(a[0]), 1) },
		"untilStep":   func(a []any) int { return elements(whole(a[0]), whole(a[1]), whole(a[2])) },
		"seq":         guardSeq,
		"uniq":        guardPairs(0, 0),
		"mustUniq":    guardPairs(0, 0),
		"without":     func(a []any) int { return times(listLen(a[0])+1, len(a)) },
		"mustWithout": func(a []any) int { return times(listLen(a[0])+1, len(a)) },
	}
	for _, name := range []string{"regexReplaceAll", "mustRegexReplaceAll", "regexReplaceAllLiteral", "mustRegexReplaceAllLiteral"} {
		guards[name] = guardRegexp(2, 1)
	}
	return guards
}

// elements is how much room a list of numbers takes, in bytes.
func elements(from, to, step int) int {
	const word = 16 // of a number, or its digits as text
	for _, n := range []int{from, to, step} {
		if n > maxOutput || n < -maxOutput { // sprig's loop would overflow
			return maxOutput + 1
		}
	}
	if step == 0 {
		return 0 // sprig gives an empty list
	}
	n := (to - from) / step
	if n < 0 {
		n = -n
	}
	return times(n+1, word)
}

// guardSeq reads the arguments of seq: end; start, end; start, step, end.
func guardSeq(args []any) int {
	switch len(args) {
	case 1:
		return elements(0, whole(args[0]), 1)
	case 2:
		return elements(whole(args[0]), whole(args[1]), 1)
	case 3:
		return elements(whole(args[0]), whole(args[2]), whole(args[1]))
	}
	return 0
}
