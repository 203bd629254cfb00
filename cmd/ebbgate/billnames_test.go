package main

import (
	"strings"
	"testing"
	"unicode"

	"github.com/ebbgate/ebbgate/upstream/billing"
)

// An account is what the file says, and a place what the spool does: neither is obeyed by
// a terminal or a spreadsheet, and a heading names an account once.
func TestNamesOfPlacesAreNotObeyed(t *testing.T) {
	const account = "=1+1\a"
	b := &billing.Bill{
		Totals: []billing.Total{{Upstream: "aws (us-east-1\x1b[31m, account =1+1\a)", Of: "aws", Region: "us-east-1\x1b[31m", Account: account}},
		Lines:  []billing.Line{{Upstream: "aws (us-east-1\x1b[31m, account =1+1\a)", Of: "aws"}},
	}
	var csv, groups strings.Builder
	if err := writeCSV(&csv, b); err != nil {
		t.Fatal(err)
	}
	if err := writeGroups(&groups, b, "account", []billGroup{{Upstream: b.Totals[0].Upstream, Region: b.Totals[0].Region, Account: account, Sum: billing.Sum{Name: account}}}); err != nil {
		t.Fatal(err)
	}
	heading := priced(b.Totals[0])
	for _, text := range []string{csv.String(), groups.String(), heading} {
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }); i >= 0 {
			t.Errorf("a control character: %q", text[i:])
		}
		if strings.Contains(text, ",=1") {
			t.Errorf("a formula: %q", text)
		}
	}
	if n := strings.Count(heading, "account"); n != 1 {
		t.Errorf("%q names the account %d times", heading, n)
	}
}
