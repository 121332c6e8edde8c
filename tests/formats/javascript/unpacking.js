// Unpack texts in node: node unpacking.js PROGRAM < TEXTS
// TEXTS is a list in JSON. It writes the bytes of each in hexadecimal digits, or the message of its error.
"use strict";

const fs = require("fs");
const vm = require("vm");

vm.runInThisContext(fs.readFileSync(process.argv[2], "utf-8"));

function answer(text) {
  try {
    return Buffer.from(unpacked(text)).toString("hex");
  } catch (error) {
    return error.message;
  }
}

process.stdout.write(JSON.stringify(JSON.parse(fs.readFileSync(0, "utf-8")).map(answer)));
