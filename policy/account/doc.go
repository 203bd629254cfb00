// Package account brings an AWS account's IoT policies here, and asks AWS
// whether it decides as we do. It is the only importer of the AWS SDK's
// configuration and of its client for the control plane of AWS IoT.
//
// [Open] finds region and credentials by the SDK's chain and nowhere else.
// [Account.Pull] reads the account and makes the registry files of it:
// things.yaml, policies/<name>.json, certs/<id>.pem, and account.json, which
// records what the first three cannot say. [Account.Verify] puts the same
// questions to TestAuthorization and to package policy and returns where the
// answers differ.
//
// A pull of a large account takes as long as the quotas of the control plane
// say, so it is built to be cut short. Lists are cheap, a page of 250 a call,
// and are read anew each time; what costs a call an item goes into a journal,
// and the next pull takes it from there. Throttling is AWS's way to say how
// fast we may go: the client slows down to that and does not fail.
//
// A pull reads, never writes, in the account. Here it replaces all or nothing:
// the new files are complete, synced and loaded by [policy.Load] before the
// first of the old ones is moved away, and a crash in between is finished by
// the next pull. What the site itself added (users, things of its own, their
// policies) stays: account.json tells what came from AWS the last time.
//
// What the registry has no words for is never left out in silence: it is in
// [Report].Notes, and whole in account.json.
package account
