// Package cur reads AWS's Cost and Usage Report, the CSV that says what an
// account was charged: of it, what belongs to IoT Core.
//
// Both forms of the report are read, the older with columns such as
// lineItem/UsageAmount and CUR 2.0 with line_item_usage_amount; of each only the
// columns that are needed. A report may be of any size: it is summed up while it
// is read.
package cur

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The usage types of IoT Core, without the region before them.
const (
	Messages   = "Messages"
	Minutes    = "ConnectionMinutes"
	Rules      = "RulesTriggered"
	Actions    = "ActionsExecuted"
	Shadow     = "RegistryAndShadowOperations"
	Direct     = "DirectMessages"
	productIoT = "AWSIoT"
)

// Charge is what one account was charged for one usage type in one region.
type Charge struct {
	Account string
	Region  string // such as eu-central-1; as the usage type has it when the report does not say
	Item    string // usage type without its region
	Kind    string // Usage, Tax, Credit, …: the line item's type
	Amount  *big.Rat
	USD     *big.Rat
	Free    *big.Rat // of Amount: in lines that cost nothing
	Lines   int64
}

// Report is what a Cost and Usage Report says about IoT Core.
type Report struct {
	From, To time.Time // of the usage in it
	Charges  []Charge  // by account, region, item and kind
	Others   int64     // lines of other services
}

// Bounds of what is kept of a report.
const (
	maxCharges = 10_000
	maxName    = 256 // bytes of an account, a region, a usage type
	maxNumber  = 64  // characters of an amount
	maxRow     = 1 << 20
	maxPower   = 20 // of ten, as 1E-10 has it
)

// most is more than AWS has ever counted of anything, or charged for it.
var most = new(big.Rat).SetInt64(1e18)

// The columns, in the words of CUR 2.0.
const (
	colProduct = "line_item_product_code"
	colType    = "line_item_usage_type"
	colKind    = "line_item_line_item_type"
	colAmount  = "line_item_usage_amount"
	colCost    = "line_item_unblended_cost"
	colStart   = "line_item_usage_start_date"
	colEnd     = "line_item_usage_end_date"
	colAccount = "line_item_usage_account_id"
	colMoney   = "line_item_currency_code"
	colRegion  = "product_region_code"
	colRegion1 = "product_region" // the older report's
)

var used = []string{colProduct, colType, colKind, colAmount, colCost, colStart, colEnd, colAccount, colMoney, colRegion, colRegion1}

// Read reads a report; one in gzip, as AWS delivers it, is unpacked. In an archive it is not
// read, which may hold several files.
func Read(in io.Reader) (*Report, error) {
	buffered := bufio.NewReader(in)
	if magic, _ := buffered.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("cost and usage report: %w", err)
		}
		buffered = bufio.NewReader(unpacked)
	}
	if magic, _ := buffered.Peek(len(archive)); string(magic) == archive {
		return nil, errors.New("cost and usage report: this is a ZIP archive: unpack it, and give the CSV that is in it")
	}
	if mark, _ := buffered.Peek(len(byteOrder)); string(mark) == byteOrder {
		_, _ = buffered.Discard(len(byteOrder)) // it was peeked at
	}
	row := &rowReader{in: buffered, left: maxRow}
	rows := csv.NewReader(row)
	rows.ReuseRecord = true
	rows.FieldsPerRecord = -1
	head, err := rows.Read()
	if err != nil {
		return nil, fmt.Errorf("cost and usage report: no header: %w", err)
	}
	width := len(head)
	columns := map[string]int{}
	for i, name := range head {
		column := snake(name)
		if _, twice := columns[column]; twice && slices.Contains(used, column) {
			return nil, fmt.Errorf("cost and usage report: column %s is there twice", column)
		}
		columns[column] = i
	}
	for _, need := range []string{colProduct, colType, colKind, colAmount, colCost, colStart, colEnd} {
		if _, ok := columns[need]; !ok {
			return nil, fmt.Errorf("cost and usage report: no column %s, nor lineItem/… of the older form: is this the CSV of an AWS data export with standard columns?", need)
		}
	}
	r, line := &reader{columns: columns, charges: map[key]*Charge{}}, 1
	for {
		row.left = maxRow
		fields, err := rows.Read()
		if errors.Is(err, io.EOF) {
			if row.last != '\n' { // as many cells as there should be may stand in it, and the last of them be half a number
				return nil, fmt.Errorf("cost and usage report, line %d: its end is missing: %s; if it is whole, add the end of the line", line, again)
			}
			return r.report(), nil
		}
		if err != nil { // of CSV it names the line itself; one that could not be read has none
			return nil, fmt.Errorf("cost and usage report, after line %d: %w: %s", line, err, again)
		}
		line, _ = rows.FieldPos(0)
		if len(fields) != width {
			return nil, fmt.Errorf("cost and usage report, line %d: %d cells, and the header has %d: %s", line, len(fields), width, again)
		}
		if err := r.take(fields); err != nil {
			return nil, fmt.Errorf("cost and usage report, line %d: %w", line, err)
		}
	}
}

// again is what to do about a report that is not as AWS wrote it.
const again = "the file was cut off or changed: download it again"

// byteOrder is the mark that some tools put before text in UTF-8.
const byteOrder = "\ufeff"

// archive begins a ZIP file.
const archive = "PK\x03\x04"

// rowReader ends what would be one row of more than maxRow: a quote that is never
// closed would have all of a report read into memory.
type rowReader struct {
	in   io.Reader
	left int
	last byte // that was read
}

func (r *rowReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, fmt.Errorf("a row of more than %d bytes: is a quote open?", maxRow)
	}
	n, err := r.in.Read(p[:min(len(p), r.left)])
	if r.left -= n; n > 0 {
		r.last = p[n-1]
	}
	return n, err //nolint:wrapcheck // io.Reader: io.EOF is looked for
}

// snake writes lineItem/UsageAmount as CUR 2.0 does: line_item_usage_amount.
func snake(name string) string {
	var b strings.Builder
	name = strings.TrimSpace(name)
	for i, r := range name {
		switch {
		case r == '/':
			b.WriteByte('_')
			continue
		case unicode.IsUpper(r) && i > 0 && name[i-1] != '/' && name[i-1] != '_' && !unicode.IsUpper(rune(name[i-1])):
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

type key struct{ account, region, item, kind string }

type reader struct {
	columns  map[string]int
	charges  map[key]*Charge
	others   int64
	from, to time.Time
}

func (r *reader) field(row []string, column string) string {
	i, ok := r.columns[column]
	if !ok || i >= len(row) {
		return ""
	}
	return row[i]
}

func (r *reader) take(row []string) error {
	if r.field(row, colProduct) != productIoT {
		r.others++
		return nil
	}
	if money := r.field(row, colMoney); money != "" && money != "USD" {
		return fmt.Errorf("charged in %s, and only US dollars can be compared", money)
	}
	amount, err := number(r.field(row, colAmount))
	if err != nil {
		return fmt.Errorf("%s: %w", colAmount, err)
	}
	usd, err := number(r.field(row, colCost))
	if err != nil {
		return fmt.Errorf("%s: %w", colCost, err)
	}
	region, item := split(r.field(row, colType))
	region = cmp.Or(r.field(row, colRegion), r.field(row, colRegion1), region)
	k := key{r.field(row, colAccount), strings.Clone(region), item, r.field(row, colKind)}
	c := r.charges[k]
	if c == nil {
		if n := max(len(k.account), len(k.region), len(k.item), len(k.kind)); n > maxName {
			return fmt.Errorf("a name of %d bytes, as no account, region or usage type has", n)
		}
		if len(r.charges) >= maxCharges {
			return fmt.Errorf("more than %d kinds of charges of IoT Core", maxCharges)
		}
		k = key{strings.Clone(k.account), k.region, strings.Clone(k.item), strings.Clone(k.kind)}
		c = &Charge{Account: k.account, Region: k.region, Item: k.item, Kind: k.kind, Amount: new(big.Rat), USD: new(big.Rat), Free: new(big.Rat)}
		r.charges[k] = c
	}
	c.Amount.Add(c.Amount, amount)
	if c.USD.Add(c.USD, usd); usd.Sign() == 0 {
		c.Free.Add(c.Free, amount)
	}
	c.Lines++
	if c.Kind != "Usage" {
		return nil // taxes and credits are dated otherwise
	}
	start, err := when(r.field(row, colStart))
	if err != nil {
		return fmt.Errorf("%s: %w", colStart, err)
	}
	end, err := when(r.field(row, colEnd))
	if err != nil {
		return fmt.Errorf("%s: %w", colEnd, err)
	}
	if end.Before(start) || start.Year() < firstYear || end.Year() > lastYear {
		return fmt.Errorf("usage from %s to %s is no span of a report", start.Format(time.DateTime), end.Format(time.DateTime))
	}
	if r.from.IsZero() || start.Before(r.from) {
		r.from = start
	}
	if end.After(r.to) {
		r.to = end
	}
	return nil
}

func (r *reader) report() *Report {
	out := &Report{From: r.from, To: r.to, Others: r.others}
	for _, c := range r.charges {
		out.Charges = append(out.Charges, *c)
	}
	slices.SortFunc(out.Charges, func(a, b Charge) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Item, b.Item), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

func number(text string) (*big.Rat, error) {
	if text == "" { // a tax has no amount
		return new(big.Rat), nil
	}
	if len(text) > maxNumber || strings.Contains(text, "/") {
		return nil, fmt.Errorf("%q is no number", text)
	}
	if strings.Trim(text, "+-.0123456789eE") != "" { // no bases, no underscores
		return nil, fmt.Errorf("%q is no number", text)
	}
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		if power, err := strconv.Atoi(text[at+1:]); err != nil || power < -maxPower || power > maxPower {
			return nil, fmt.Errorf("%q is no number that AWS would write", text)
		}
	}
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, fmt.Errorf("%q is no number", text)
	}
	if new(big.Rat).Abs(n).Cmp(most) > 0 {
		return nil, fmt.Errorf("%q is more than AWS can have counted", text)
	}
	return n, nil
}

// The years of usage: IoT Core began in 2015, and what is later than any clock of
// ours can tell is not one.
const (
	firstYear = 2015
	lastYear  = 9999
)

func when(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.000Z", time.DateTime, "2006-01-02 15:04:05.000"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", text)
}

// split takes the region off a usage type: EUC1-Messages is Messages in
// eu-central-1. The first region's types have none, or USE1.
func split(usageType string) (region, item string) {
	prefix, item, found := strings.Cut(usageType, "-")
	if !found {
		return "us-east-1", usageType
	}
	if name, ok := regions[prefix]; ok {
		return name, item
	}
	return prefix, item
}

// regions are AWS's short names of regions in usage types.
var regions = map[string]string{
	"USE1": "us-east-1", "USE2": "us-east-2", "USW1": "us-west-1", "USW2": "us-west-2", "EU": "eu-west-1", "EUW1": "eu-west-1",
	"EUW2": "eu-west-2", "EUW3": "eu-west-3", "EUC1": "eu-central-1", "EUN1": "eu-north-1", "APN1": "ap-northeast-1",
	"APN2": "ap-northeast-2", "APS1": "ap-southeast-1", "APS2": "ap-southeast-2", "APS3": "ap-south-1", "CAN1": "ca-central-1",
	"SAE1": "sa-east-1", "UGW1": "us-gov-west-1", "UGE1": "us-gov-east-1",
}
