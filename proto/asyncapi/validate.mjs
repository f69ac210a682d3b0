// Exits with 1 when the AsyncAPI document named on the command line has an error or a warning.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const path = process.argv[2];
const { document, diagnostics } = await new Parser().parse(readFileSync(path, "utf8"));
// Severity 0 is an error, 1 a warning; what is above is advice, such as the newest version of AsyncAPI.
const problems = diagnostics.filter(({ severity }) => severity <= 1);
for (const { range, path: pointer, message } of problems) {
  console.error(`${path}:${range.start.line + 1}: ${pointer.join(".")}: ${message}`);
}
if (!document || problems.length > 0) process.exit(1);
console.log(`${path} is valid AsyncAPI ${document.version()}`);
