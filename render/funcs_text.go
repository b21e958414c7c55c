package render

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
)

// textFunctions work on text. As in consul-template the text comes last, so that
// it can be piped in.
func textFunctions() []*function {
	return []*function{
		{name: "indent", fn: indent, guard: guardIndent},
		{name: "join", fn: func(sep string, list []string) string { return strings.Join(list, sep) }, guard: guardJoin},
		{name: "split", fn: split},
		{name: "replaceAll", fn: func(from, to, s string) string { return strings.ReplaceAll(s, from, to) }, guard: guardReplace},
		{name: "trim", fn: func(cutset, s string) string { return strings.Trim(s, cutset) }},
		{name: "trimPrefix", fn: func(prefix, s string) string { return strings.TrimPrefix(s, prefix) }},
		{name: "trimSuffix", fn: func(suffix, s string) string { return strings.TrimSuffix(s, suffix) }},
		{name: "trimSpace", fn: strings.TrimSpace},
		{name: "toLower", fn: strings.ToLower},
		{name: "toUpper", fn: strings.ToUpper},
		{name: "toTitle", fn: title},
		{name: "regexMatch", guard: guardRegexp(1, -1), fn: func(expr, s string) (bool, error) {
			re, err := compileRegexp(expr)
			if err != nil {
				return false, err
			}
			return re.MatchString(s), nil
		}},
		{name: "regexReplaceAll", guard: guardRegexp(2, 1), fn: func(expr, to, s string) (string, error) {
			re, err := compileRegexp(expr)
			if err != nil {
				return "", err
			}
			return re.ReplaceAllString(s, to), nil
		}},
	}
}

// compileRegexp reads a regular expression (https://pkg.go.dev/regexp/syntax).
func compileRegexp(expr string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, badData("the regular expression has a syntax error", "")
	}
	return re, nil
}

// indent puts n spaces before every line that is not empty.
func indent(n int, s string) (string, error) {
	if n < 0 {
		return "", badData("indent wants a number that is not negative", "")
	}
	prefix := strings.Repeat(" ", n)
	var b strings.Builder
	for line := range strings.Lines(s) {
		if line != "\n" {
			b.WriteString(prefix)
		}
		b.WriteString(line)
	}
	return b.String(), nil
}

// split gives no element for text of nothing but space, as upstream.
func split(sep, s string) []string {
	if s = strings.TrimSpace(s); s == "" {
		return []string{}
	}
	return strings.Split(s, sep)
}

// title makes the first letter of each word a title letter.
func title(s string) string {
	last := ' '
	return strings.Map(func(r rune) rune {
		start := !unicode.IsLetter(last) && !unicode.IsDigit(last) && last != '_' && last != '\''
		last = r
		if start {
			return unicode.ToTitle(r)
		}
		return r
	}, s)
}

// texts gives the arguments that are text; others have length 0 for a guard,
// because the function refuses them anyway.
func texts(args []any) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		out[i], _ = arg.(string)
	}
	return out
}

// whole gives a number for a guard; what is no number is refused later.
func whole(v any) int {
	x, ok := rational(v)
	if !ok || !x.IsInt() || !x.Num().IsInt64() {
		return 0
	}
	return int(x.Num().Int64())
}

func guardIndent(args []any) int {
	s := texts(args)[1]
	return times(max(whole(args[0]), 0)+1, strings.Count(s, "\n")+1)
}

func guardReplace(args []any) int {
	s := texts(args)
	return times(strings.Count(s[2], s[0])+1, max(len(s[1]), 1))
}

func guardJoin(args []any) int { return times(listLen(args[1])+1, max(len(texts(args)[0]), 1)) }

// guardRegexp bounds the work of matching the first argument against argument text
// and, where argument to replaces the matches, the result.
func guardRegexp(text, to int) func([]any) int {
	return func(args []any) int {
		s := texts(args)
		result := 0
		if to >= 0 {
			// At most one match per position. Each $1 is at most the text; all
			// matches together are, too.
			perMatch := len(s[to])
			if strings.Contains(s[to], "$") {
				perMatch *= 2
			}
			result = times(len(s[text])+1, max(perMatch, 1))
		}
		const each = 16 // steps of a matcher count as one byte
		return max(result, times(regexpSize(s[0])/each+1, len(s[text])+1))
	}
}

// regexpSize is how many instructions an expression becomes: x{1000} is short.
func regexpSize(expr string) int {
	const most = 1 << 16
	if len(expr) > most {
		return maxOutput << 10 // over every bound
	}
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return 0 // the function will say so
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return 0
	}
	return len(prog.Inst)
}
