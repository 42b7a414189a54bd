use kiln_model::{Reference, Setting};

use super::*;

fn figures(test_accuracy: f64) -> Figures {
    Figures {
        parameters: 1234,
        epochs: 10,
        best_epoch: 9,
        val_accuracy: test_accuracy - 0.001,
        val_loss: 0.03,
        test_accuracy,
        test_loss: 0.04,
        seconds: 75.0,
    }
}

fn setting(key: &str, value: &str) -> Setting {
    let name = key.rsplit('.').next().unwrap().to_string();
    Setting {
        key: key.into(),
        name,
        value: value.into(),
    }
}

fn row(settings: Vec<Setting>, figures: Option<Figures>, error: Option<&str>) -> Row {
    let label = settings
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let run = figures.map(|_| "folder".to_string());
    let reference = Some(Reference {
        test_accuracy: Some(0.992),
        test_loss: None,
    });
    let entry = Entry {
        label,
        settings,
        reference,
        run,
        error: error.map(Into::into),
    };
    Row {
        entry,
        figures,
        origin: Vec::new(),
    }
}

fn results(rows: Vec<Row>, sort_by: Metric) -> Results {
    Results {
        name: "small".into(),
        description: None,
        reference: Some("report".into()),
        sort_by,
        rows,
    }
}

fn seeds() -> Results {
    let row = |filters, seed, accuracy: Option<f64>| {
        let settings = vec![
            setting("layers.conv2d.filters", filters),
            setting("training.seed", seed),
        ];
        self::row(settings, accuracy.map(figures), None)
    };
    let rows = vec![
        row("32", "0", Some(0.98)),
        row("32", "1", Some(0.99)),
        row("64", "0", Some(0.995)),
        row("64", "1", None),
    ];
    results(rows, Metric::TestAccuracy)
}

#[test]
fn runs_are_sorted_by_the_metric_and_unfinished_ones_come_last() {
    let filters = |value: &str| vec![setting("layers.conv2d.filters", value)];
    let rows = vec![
        row(filters("8"), None, Some("diverged")),
        row(filters("16"), Some(figures(0.98)), None),
        row(filters("32"), Some(figures(0.99)), None),
    ];
    let results = results(rows, Metric::ValAccuracy);
    let table = runs_table(&results, &results.sorted());
    let expected = "
 filters   test accuracy    report   test loss   val accuracy   val loss   params   epochs         time    state
─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 32              99.00 %   99.20 %      0.0400        98.90 %     0.0300    1,234       10   1 min 15 s     done
 16              98.00 %   99.20 %      0.0400        97.90 %     0.0300    1,234       10   1 min 15 s     done
 8                     –   99.20 %           –              –          –        –        –            –   failed";
    assert_eq!(
        format!("\n{}", table.to_text()),
        expected,
        "\n{}",
        table.to_text()
    );
    assert_eq!(results.best().unwrap().0.entry.label, "filters 32");
    assert_eq!(
        Results {
            sort_by: Metric::Seconds,
            ..results
        }
        .best()
        .unwrap()
        .0
        .entry
        .label,
        "filters 16"
    );
}

#[test]
fn seeds_are_averaged() {
    let results = seeds();
    let groups = groups(&results);
    assert_eq!(
        groups
            .iter()
            .map(|group| group.label.as_str())
            .collect::<Vec<_>>(),
        ["filters 32", "filters 64"]
    );
    let spread = groups[0].test_accuracy.unwrap();
    assert!(
        (spread.mean - 0.985).abs() < 1e-12 && (spread.min, spread.max) == (0.98, 0.99),
        "{spread:?}"
    );
    let table = seeds_table(&results).unwrap().to_text();
    let expected = "
 filters     runs    test accuracy    report           min – max         test loss     val accuracy   params         time
──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 64        1 of 2          99.50 %   99.20 %   99.50 % – 99.50 %            0.0400          99.40 %    1,234   1 min 15 s
 32        2 of 2   98.50 ± 0.71 %   99.20 %   98.00 % – 99.00 %   0.0400 ± 0.0000   98.40 ± 0.71 %    1,234   1 min 15 s";
    assert_eq!(format!("\n{table}"), expected, "\n{table}");
}

#[test]
fn where_only_the_seed_is_varied_the_recipe_names_the_line() {
    let row = |seed, accuracy| {
        row(
            vec![setting("training.seed", seed)],
            Some(figures(accuracy)),
            None,
        )
    };
    let results = results(vec![row("0", 0.98), row("1", 0.99)], Metric::TestAccuracy);
    let table = seeds_table(&results).unwrap();
    assert_eq!((table.rows.len(), table.rows[0][0].as_str()), (1, "small"));
    let filters = vec![setting("layers.conv2d.filters", "3")];
    assert!(
        seeds_table(&super::Results {
            rows: vec![self::row(filters, None, None)],
            ..results
        })
        .is_none()
    );
}

#[test]
fn the_csv_has_every_figure_unrounded() {
    let text = String::from_utf8(results_csv(&seeds()).unwrap()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "run,state,filters,seed,parameters,epochs,best_epoch,val_accuracy,val_loss,test_accuracy,test_loss,seconds,\
         reference_test_accuracy,reference_test_loss"
    );
    assert_eq!(
        lines[1],
        "folder,done,32,0,1234,10,9,0.979,0.03,0.98,0.04,75,0.992,"
    );
    assert_eq!(lines[4], ",not run,64,1,,,,,,,,,0.992,");
}
