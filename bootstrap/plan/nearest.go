package plan

// Nearest gives the name that a typing mistake may have turned into wrong:
// at most one edit for three letters. "" is none.
func Nearest(wrong string, names []string) string {
	best, bestName := len(wrong)/3+1, ""
	if len(wrong) > 64 { // no key of ours is this long
		return ""
	}
	for _, name := range names {
		if d := distance(wrong, name); d < best || d == best && bestName == "" && d <= len(wrong)/3 {
			best, bestName = d, name
		}
	}
	return bestName
}

// distance counts the single letters to add, drop, change, or swap with their
// neighbour (the optimal string alignment distance).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
