// Package explain says a policy's decision in words: which statement and
// condition decided, what the variables stood for, and for a refusal that
// nobody wrote down as a Deny, which statement came closest and what kept it
// out.
//
// It decides nothing. What it knows of wildcards serves to recognise the usual
// confusions ([Hints]): MQTT's + and # written where a policy means * and ?,
// topic/ where topicfilter/ is asked, a Receive that nobody granted, a shared
// subscription whose text is longer than one thinks, a thing that is not
// attached.
package explain
