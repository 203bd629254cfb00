// What the clients of this folder have in common: they are given one JSON
// argument, tell what they see as one JSON object a line, and wait for a line
// where the test has something to do in between.
const readline = require('node:readline');

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

exports.options = JSON.parse(process.argv[2]);
exports.tell = (step, rest = {}) => console.log(JSON.stringify({ step, ...rest }));
exports.proceed = () => lines.next();
exports.fail = (err) => {
  exports.tell('error', { text: String(err && (err.stack || err)) });
  process.exit(1);
};
// user makes the same list of pairs of either library's user properties.
exports.user = (list) => list.map(([name, value]) => `${name}=${value}`);
process.on('unhandledRejection', exports.fail);
