//! What the example prints is what its readers are promised.

use std::process::Command;

#[test]
fn it_greets_swaps_and_explains() {
    let output = Command::new(env!("CARGO_BIN_EXE_embed")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let expected = "\
Hello, Ada!
Bonjour, Ada!

service/greeter -> french   (from settings)
  won over 1 other by selection: an operator chose it
  an operator selected 'french'

  #  provider  origin    selected  priority  stack  seq  verdict
  1  french    settings  yes       10        0      2    wins
  2  english   settings  -         20        0      1    lost on selection: french is selected
       would win with a selection of english

  if french dies: english is next in line
";
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.trim_end(), expected.trim_end());
}
