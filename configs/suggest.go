package configs

import "strings"

// closest finds the name that somebody who wrote s most likely meant, or "".
func closest(s string, known []string) string {
	best, least := "", max(1, len(s)/3)+1
	for _, k := range known {
		if d := distance(plain(s), plain(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// plain takes away what people vary: case, and dashes for underscores.
func plain(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// distance is the number of characters to insert, delete, replace or swap with
// their neighbour to get from a to b; long texts are far from everything.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before, last, row [65]int
	for j := range len(b) + 1 {
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
		before, last = last, row
	}
	return last[len(b)]
}

// meant is the remedy for an unknown word.
func meant(s string, known []string) string {
	if k := closest(s, known); k != "" {
		return "did you mean " + k + "?"
	}
	if len(known) == 0 {
		return "take it out"
	}
	return "known here are " + strings.Join(known, ", ")
}
