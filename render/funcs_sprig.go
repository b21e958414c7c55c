package render

import (
	"fmt"
	"maps"
	"strings"
)

// sprigFunctions are the functions in a map of sprig's, as strict as ours.
func sprigFunctions(all map[string]any) []*function {
	var list []*function
	for name := range all {
		// The twin that tells its error stands for the one that does not.
		if strict := all["must"+strings.ToUpper(name[:1])+name[1:]]; strict != nil {
			all[name] = strict
		}
	}
	maps.Copy(all, sprigRepairs())
	traits := sprigTraits()
	for name, fn := range all {
		f := &function{name: name, fn: fn}
		if trait := traits[name]; trait != nil {
			trait(f)
		}
		list = append(list, f)
	}
	return list
}

// prefixed are the same functions as sprig_NAME.
func prefixed(list []*function) []*function {
	out := make([]*function, len(list))
	for i, f := range list {
		same := *f
		same.name = "sprig_" + f.name
		out[i] = &same
	}
	return out
}

// The costs of functions that take long: about a tenth of a second and some
// seconds (an RSA key of 4096 bits took 1 to 5 s when it was measured).
const (
	costLong = 10_000
	costKey  = 60_000
)

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
	const wholes = "add add1 sub mul div mod max min biggest int int64 until untilStep seq duration"
	const fractions = "add1f addf subf mulf divf maxf minf ceil floor round float64"
	give(func(f *function) { f.numbers = true }, wholes+" "+fractions+" toDecimal durationRound ago")
	give(func(f *function) { f.vet = vetNumbers(wholeText) }, wholes)
	give(func(f *function) { f.vet = vetNumbers(fractionText) }, fractions)
	give(func(f *function) { f.cost = costLong }, "bcrypt htpasswd derivePassword buildCustomCert decryptAES encryptAES")
	give(func(f *function) { f.cost = costKey },
		"genPrivateKey genCA genCAWithKey genSelfSignedCert genSelfSignedCertWithKey genSignedCert genSignedCertWithKey")
	give(func(f *function) { f.deep, f.varies = true, true },
		"bcrypt htpasswd encryptAES randInt shuffle genPrivateKey genCA genCAWithKey genSelfSignedCert genSelfSignedCertWithKey "+
			"genSignedCert genSignedCertWithKey")
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
	for _, must := range []string{"regex%s", "mustRegex%s"} {
		for _, name := range []string{"ReplaceAll", "ReplaceAllLiteral"} {
			guards[fmt.Sprintf(must, name)] = guardRegexp(1, 2)
		}
		for _, name := range []string{"Match", "Find", "FindAll", "Split"} {
			guards[fmt.Sprintf(must, name)] = guardRegexp(1, -1)
		}
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
