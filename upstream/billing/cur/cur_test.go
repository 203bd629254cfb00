package cur

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const older = "\ufeffidentity/LineItemId,bill/PayerAccountId,lineItem/UsageAccountId,lineItem/LineItemType,lineItem/UsageStartDate,lineItem/UsageEndDate,lineItem/ProductCode,lineItem/UsageType,lineItem/UsageAmount,lineItem/CurrencyCode,lineItem/UnblendedCost,product/region\n" +
	"a,1,111122223333,Usage,2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,AWSIoT,EUC1-Messages,1000000.0000000000,USD,1.2000000000,eu-central-1\n" +
	"b,1,111122223333,Usage,2026-11-01T01:00:00Z,2026-11-01T02:00:00Z,AWSIoT,EUC1-Messages,500000,USD,0.6,eu-central-1\n" +
	"c,1,111122223333,Usage,2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,AmazonS3,EUC1-Requests-Tier1,5,USD,0.1,eu-central-1\n" +
	"d,1,111122223333,Tax,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,AWSIoT,EUC1-Messages,,USD,0.34,\n" +
	"e,1,111122223333,Usage,2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,AWSIoT,ConnectionMinutes,60,USD,4.8E-6,\n"

const newer = "line_item_line_item_type,line_item_usage_start_date,line_item_usage_end_date,line_item_product_code,line_item_usage_type,line_item_usage_amount,line_item_unblended_cost,product_region_code,line_item_usage_account_id\n" +
	"Usage,2026-11-01 00:00:00,2026-11-30 12:00:00.000,AWSIoT,USW2-RulesTriggered,7,0.00000105,,111122223333\n"

func TestBothFormsOfTheReport(t *testing.T) {
	r, err := Read(strings.NewReader(older))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Charges) != 3 || r.Others != 1 {
		t.Fatalf("%+v", r)
	}
	if c := r.Charges[0]; c.Region != "eu-central-1" || c.Item != Messages || c.Kind != "Tax" || c.USD.FloatString(2) != "0.34" {
		t.Errorf("%+v", c)
	}
	if c := r.Charges[1]; c.Kind != "Usage" || c.Amount.FloatString(0) != "1500000" || c.USD.FloatString(2) != "1.80" || c.Lines != 2 || c.Account != "111122223333" {
		t.Errorf("%+v", c)
	}
	if c := r.Charges[2]; c.Region != "us-east-1" || c.Item != Minutes || c.USD.FloatString(7) != "0.0000048" {
		t.Errorf("%+v", c)
	}
	if !r.From.Equal(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) || !r.To.Equal(time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC)) {
		t.Errorf("%s to %s", r.From, r.To)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(newer))
	_ = z.Close()
	r, err = Read(&packed)
	if err != nil || len(r.Charges) != 1 || r.Charges[0].Region != "us-west-2" || r.Charges[0].Item != Rules || r.To.Hour() != 12 {
		t.Errorf("%+v, %v", r, err)
	}
}

// torn is a packed report of which the end is missing.
func torn(t *testing.T) string {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(older))
	_ = z.Flush()
	return packed.String()
}

func TestReportsThatAreNone(t *testing.T) {
	head, _, _ := strings.Cut(newer, "\n")
	row := func(cells string) string { return head + "\n" + cells + "\n" }
	for name, text := range map[string]string{
		"nothing":          "",
		"another file":     "a,b,c\n1,2,3\n",
		"not a number":     row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,many,1,,1"),
		"a fraction":       row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,1/3,1,,1"),
		"a bomb":           row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,1e999999999,1,,1"),
		"not a cost":       row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,1,free,,1"),
		"no start":         row("Usage,,2026-11-30 12:00:00,AWSIoT,Messages,1,1,,1"),
		"no end":           row("Usage,2026-11-01 00:00:00,never,AWSIoT,Messages,1,1,,1"),
		"an open quote":    row(`Usage,"2026`),
		"another currency": strings.Replace(older, "USD,1.2", "EUR,1.2", 1),
		"a torn gzip":      "\x1f\x8b\x08",
		"a shorter gzip":   torn(t),
		"another bomb":     row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,1e400,1,,1"),
		"more than all":    row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,1,1e19,,1"),
		"less than all":    row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,-1e19,1,,1"),
		"NaN":              row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,NaN,1,,1"),
		"Inf":              row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,1,-Inf,,1"),
		"hexadecimal":      row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,0x10,1,,1"),
		"underscores":      row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,1_000,1,,1"),
		"a comma":          row(`Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT,Messages,"1,000",1,,1`),
		"back in time":     row("Usage,2026-11-02 00:00:00,2026-11-01 12:00:00,AWSIoT,Messages,1,1,,1"),
		"the year 1":       row("Usage,0001-01-01 00:00:00,2026-11-01 12:00:00,AWSIoT,Messages,1,1,,1"),
		"a column twice":   "line_item_usage_amount," + newer,
		"an endless name":  row("Usage,2026-11-01 00:00:00,2026-11-30 12:00:00,AWSIoT," + strings.Repeat("x", maxName+1) + ",1,1,,1"),
		"an endless row":   head + "\n\"" + strings.Repeat("a\n", maxRow),
	} {
		if r, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// An archive is told from a report that is damaged.
func TestAReportInAnArchive(t *testing.T) {
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	w, err := z.Create("report.csv")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, older)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(&packed); err == nil || !strings.Contains(err.Error(), "ZIP archive: unpack it") {
		t.Errorf("%v", err)
	}
}

// What is free is told from what costs something.
func TestLinesThatCostNothing(t *testing.T) {
	free := strings.Replace(older, "500000,USD,0.6", "500000,USD,0.0000000000", 1)
	r, err := Read(strings.NewReader(free))
	if err != nil || len(r.Charges) != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	if c := r.Charges[1]; c.Amount.FloatString(0) != "1500000" || c.Free.FloatString(0) != "500000" {
		t.Errorf("%+v", c)
	}
}

// A file that ends in the middle of a line says which, and what to do: half a
// number is a number too. Cut at any place, a report is an error, or it has whole
// lines only.
func TestATornReportNamesItsLine(t *testing.T) {
	lines := strings.SplitAfter(older, "\n")
	at := len(lines[0]) // the header is another error
	for n, line := range lines[1:] {
		for cut := 1; cut < len(line); cut++ {
			_, err := Read(strings.NewReader(older[:at+cut]))
			if want := fmt.Sprintf("line %d", n+2); err == nil || !strings.Contains(err.Error(), want+":") || !strings.Contains(err.Error(), "download it again") {
				t.Fatalf("cut after %q: %v, want %s and a remedy", line[:cut], err, want)
			}
		}
		if _, err := Read(strings.NewReader(older[:at+len(line)])); err != nil {
			t.Errorf("whole up to line %d: %v", n+2, err)
		}
		at += len(line)
	}
	if _, err := Read(strings.NewReader(strings.Replace(older, "1.2000000000,", "1,2000000000,", 1))); err == nil || !strings.Contains(err.Error(), "line 2: 13 cells, and the header has 12") {
		t.Errorf("a comma more: %v", err)
	}
	quoted := strings.Replace(older, "a,1,", `"a","1`, 1)
	if _, err := Read(strings.NewReader(quoted[:len(lines[0])+6])); err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "download it again") {
		t.Errorf("cut in quotes: %v", err)
	}
}

// Whatever the order of the columns, the quotes and the ends of lines: it is one
// report.
func TestTheSameReportWrittenOtherwise(t *testing.T) {
	want, err := Read(strings.NewReader(older))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(older, byteOrder))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		order, newForm := random.Perm(len(rows[0])), seed%2 == 0
		var text strings.Builder
		if seed%3 == 0 {
			text.WriteString(byteOrder)
		}
		for i, row := range rows {
			for n, at := range order {
				if n > 0 {
					text.WriteByte(',')
				}
				cell := row[at]
				if i == 0 && newForm {
					cell = snake(cell)
				}
				if random.IntN(2) == 0 {
					cell = `"` + cell + `"`
				}
				text.WriteString(cell)
			}
			text.WriteString([]string{"\n", "\r\n"}[seed%5%2])
		}
		got, err := Read(strings.NewReader(text.String()))
		if err != nil || fmt.Sprint(got.Charges) != fmt.Sprint(want.Charges) || got.Others != want.Others || !got.From.Equal(want.From) || !got.To.Equal(want.To) {
			t.Fatalf("seed %d: %+v, %v\n%s", seed, got, err, text.String())
		}
	}
}

// Nothing that is read is more than the lines of it can hold, nor without a span.
func FuzzRead(f *testing.F) {
	f.Add([]byte(older))
	f.Add([]byte(newer))
	f.Add([]byte(strings.ReplaceAll(older, "\n", "\r\n")))
	f.Add([]byte(strings.ReplaceAll(newer, ",7,", `,"-1E18",`)))
	f.Add([]byte(strings.ReplaceAll(newer, ",7,", ",NaN,")))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := Read(bytes.NewReader(in))
		if err != nil {
			return
		}
		usage := false
		for _, c := range r.Charges {
			usage = usage || c.Kind == "Usage"
			bound := new(big.Rat).Mul(most, new(big.Rat).SetInt64(c.Lines))
			for _, n := range []*big.Rat{c.Amount, c.USD} {
				if new(big.Rat).Abs(n).Cmp(bound) > 0 {
					t.Fatalf("%+v of %d lines", n, c.Lines)
				}
			}
		}
		if len(r.Charges) > maxCharges || r.To.Before(r.From) || usage == r.From.IsZero() {
			t.Fatalf("%+v", r)
		}
	})
}
